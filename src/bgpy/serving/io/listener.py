"""The listening socket: binding the address, accepting connections, and explaining failures.

::

    Unix socket          plain; the client must be the server's user
    loopback             plain, or TLS if the server was given tls=True
    beyond loopback      TLS; connections that arrive over loopback may be plain
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bgpy.address import Address, in_ephemeral_range, is_loopback_host, resolve
from bgpy.address import family as family_of
from bgpy.errors import StartupError
from bgpy.serving.io import unix
from bgpy.serving.io.transport import Stream
from bgpy.shortage import room_advice
from bgpy.system import processes
from bgpy.system.keepalive import keep_alive
from bgpy.system.sockets import send_at_once
from bgpy.wire.handshake import Binding, unbound

if TYPE_CHECKING:
    from bgpy.tls.contexts import Identity

BACKLOG = 512


class Arrival(NamedTuple):
    """A connection that was accepted."""

    stream: Stream
    peer: str
    """The client's address, for the log."""
    binding: Binding
    """What the proof of the token is bound to."""


class TurnedAway(Exception):
    """A connection was closed right after it was accepted; args: the peer, and why."""


Wrap = Callable[[socket.socket], tuple[Stream, Binding]]
"""Wraps an accepted TCP connection in its stream (plain or TLS), with the proof's binding."""


def _plain(sock: socket.socket) -> tuple[Stream, Binding]:
    return sock, unbound


@dataclass
class Listener:
    """The listening socket of a server, and how it wraps the connections that it accepts."""

    sock: socket.socket
    address: Address
    wrap: Wrap = _plain
    file: object = None
    """Identifies the file of a Unix socket; None for TCP."""

    def accept(self) -> Arrival:
        """Accept a connection; raises what ``socket.accept`` raises, and `TurnedAway`."""
        sock, peer = self.sock.accept()
        try:
            if self.address.path is not None:
                return _local(sock)
            send_at_once(sock, peer[0])
            keep_alive(sock)
            stream, binding = self.wrap(sock)
            return Arrival(stream, str(Address(*peer[:2])), binding)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Stop listening, and remove a Unix socket's file; harmless if repeated."""
        path = self.address.path
        if path is not None and self.sock.fileno() >= 0 and unix.identity(path) == self.file:
            unix.remove(path)
        self.sock.close()

    def close_in_child(self) -> None:
        """In a forked child: close the descriptor; the parent keeps listening."""
        self.sock.close()


def locate(address: Address) -> Address:
    """The address to bind for `address`: a name stands for its first address.

    Raises `StartupError` for a name that can't be looked up.
    """
    try:
        return resolve(address)[0]
    except OSError as error:
        raise StartupError(
            f"the host {address.host} can't be resolved ({error})",
            advice="correct the name, or use an IP address of this machine",
            address=address,
        ) from error


def listen(address: Address, place: Address | None = None) -> Listener:
    """Listen on `address`; port 0 takes a free port.

    `place` is what `locate` gave for it, if it was looked up before: a second look-up of the name
    may give another one. Raises `StartupError` if the host is unknown or is not this machine's, or
    if the address is in use or not permitted.
    """
    if address.path is not None:
        try:
            sock = unix.bind(address.path, BACKLOG)
        except OSError as error:
            if isinstance(error, StartupError):
                raise
            raise StartupError(
                f"can't listen on {address} ({error})", advice=room_advice(error), address=address
            ) from error
        return Listener(sock, address, file=unix.identity(address.path))
    if place is None:
        place = locate(address)
    sock = _bind(address, place)
    # Not the socket's own host: it lacks the interface of a link-local address.
    return Listener(sock, place._replace(port=sock.getsockname()[1]))


def speak_tls(listener: Listener, identity: Identity, plain_loopback: bool) -> None:
    """Make `listener` speak TLS with its clients.

    With `plain_loopback`, clients that arrive over loopback may connect without TLS.
    """
    # Imported here: a server without TLS need not load it.
    from bgpy.tls.either import PlainOrTls
    from bgpy.tls.layer import TlsLayer
    from bgpy.tls.stream import CIPHERTEXT, TlsSocket

    buffer = memoryview(bytearray(CIPHERTEXT))  # all clients share it

    def secured(sock: socket.socket) -> TlsSocket:
        return TlsSocket(sock, TlsLayer(identity.context, True), buffer)

    def bound() -> bytes:
        return identity.binding

    def wrap(sock: socket.socket) -> tuple[Stream, Binding]:
        if not (plain_loopback and _arrived_over_loopback(sock)):
            return secured(sock), bound
        either = PlainOrTls(sock, lambda: secured(sock))
        return either, lambda: bound() if either.is_tls else b""

    listener.wrap = wrap


def _local(sock: socket.socket) -> Arrival:
    """Accept the client of a Unix socket if it runs as this server's user."""
    uid = processes.peer_uid(sock)
    if sys.platform != "win32" and uid != os.geteuid():
        raise TurnedAway(f"uid {uid}", "refused: a Unix socket is for its server's user alone")
    return Arrival(sock, "local", unbound)


def _arrived_over_loopback(sock: socket.socket) -> bool:
    return is_loopback_host(sock.getsockname()[0]) and is_loopback_host(sock.getpeername()[0])


def _bind(address: Address, place: Address) -> socket.socket:
    family = family_of(place)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Allows a port whose last connections are in TIME_WAIT, never one in use.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined, unused-ignore]
        if place.host == "::" and socket.has_dualstack_ipv6():
            # "All interfaces" means those of IPv4 too, whatever the system's default is.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(place)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error
    return sock


def is_in_use(error: BaseException | None) -> bool:
    """Whether `error` says that another socket has the port."""
    in_use = [errno.EADDRINUSE]
    if sys.platform == "win32":
        in_use.append(errno.EACCES)  # where the other one shares it with nobody
    return isinstance(error, OSError) and error.errno in in_use


def _refused(address: Address, error: OSError) -> StartupError:
    problem = f"can't listen on {address} ({error})"
    advice = room_advice(error)
    if error.errno == errno.EADDRINUSE:
        problem = f"port {address.port} on {address.host} is in use by another program"
        if in_ephemeral_range(address.port):
            problem += (
                " (or by an outgoing connection: the system takes their ports from a range "
                "that includes this one; a port below it is safer)"
            )
        advice = "stop that program, or use another port (0 takes a free one)"
    elif error.errno == errno.EADDRNOTAVAIL:
        problem = f"{address.host} is not an address of this machine"
        advice = "use one that is, 0.0.0.0 for all of them, or 127.0.0.1"
    elif error.errno == errno.EACCES:
        problem = f"this user may not listen on port {address.port}"
        advice = "use a port above 1023"
    return StartupError(problem, advice=advice, address=address)
