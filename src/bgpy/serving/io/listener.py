"""Where clients come in: binding the address, taking connections, and saying why that fails.

::

    Unix socket          plain, and its client's user is looked at
    loopback             plain, or TLS where it was asked for
    beyond loopback      TLS; plain too, where the connection arrived over loopback
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
from bgpy.system import processes
from bgpy.system.keepalive import keep_alive
from bgpy.wire.handshake import Binding, unbound

if TYPE_CHECKING:
    from bgpy.tls.contexts import Identity

BACKLOG = 512

CIPHERTEXT = 2**17
"""Bytes of ciphertext received at once, into one buffer that all clients share."""


class Arrival(NamedTuple):
    """A connection that was taken from the backlog."""

    stream: Stream
    peer: str
    """Who it is, for the log."""
    binding: Binding
    """What the proof of the token is bound to."""


class TurnedAway(Exception):
    """A connection was closed as soon as it was seen; args: the peer, and why."""


Wrap = Callable[[socket.socket], tuple[Stream, Binding]]
"""Gives what is spoken over an accepted TCP connection, and what the proof is bound to."""


def _plain(sock: socket.socket) -> tuple[Stream, Binding]:
    return sock, unbound


@dataclass
class Listener:
    """The listening socket of a server, and what is spoken over the connections it gives."""

    sock: socket.socket
    address: Address
    wrap: Wrap = _plain
    file: object = None
    """Which file a Unix socket is; None for TCP."""

    def accept(self) -> Arrival:
        """Take a connection; raises as ``socket.accept``, and `TurnedAway`."""
        sock, peer = self.sock.accept()
        try:
            if self.address.path is not None:
                return _local(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            stream, binding = self.wrap(sock)
            return Arrival(stream, str(Address(*peer[:2])), binding)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Give the address back; harmless if repeated."""
        path = self.address.path
        if path is not None and self.sock.fileno() >= 0 and unix.identity(path) == self.file:
            unix.remove(path)
        self.sock.close()

    def close_in_child(self) -> None:
        """In a forked child: give the descriptor back; the parent listens on."""
        self.sock.close()


def listen(address: Address, secure: bool) -> Listener:
    """Listen on `address`; port 0 takes a free one. With `secure`, others may reach it.

    Raises `StartupError` if the host is unknown, not this machine's, or beyond loopback
    and not `secure`, or the address is taken or not allowed.
    """
    if address.path is not None:
        try:
            sock = unix.bind(address.path, BACKLOG)
        except OSError as error:
            if isinstance(error, StartupError):
                raise
            raise StartupError(f"can't listen on {address}: {error}") from error
        return Listener(sock, address, file=unix.identity(address.path))
    try:
        place = resolve(address)[0]
    except OSError as error:
        raise StartupError(f"{address.host} is no known host: {error}") from error
    # Of the address that is bound: the name may mean another one when it is looked up again.
    if not is_loopback_host(place.host) and not secure:
        raise StartupError(
            f"{address.host} can be reached from other machines, where bgpy speaks TLS: leave "
            "tls=False out, or use 127.0.0.1"
        )
    sock = _bind(address, place)
    # Not the host that the socket tells, which lacks the interface of a link-local address.
    return Listener(sock, place._replace(port=sock.getsockname()[1]))


def speak_tls(listener: Listener, identity: Identity, plain_loopback: bool) -> None:
    """Speak TLS with whom `listener` lets in; with `plain_loopback` not with all of them.

    Those that arrive over loopback may then speak plainly instead.
    """
    # Inside, since a server that speaks no TLS need not load it.
    from bgpy.tls.layer import TlsLayer
    from bgpy.tls.stream import PlainOrTls, TlsSocket

    buffer = memoryview(bytearray(CIPHERTEXT))

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
    """The client of a Unix socket, if it runs as this server's user."""
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
            # Takes a port whose last connections still wind down, never one in use.
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


def _refused(address: Address, error: OSError) -> StartupError:
    if error.errno == errno.EADDRINUSE:
        text = f"port {address.port} on {address.host} is taken by another program"
        if in_ephemeral_range(address.port):
            text += (
                " (or by an outgoing connection: the port lies in the range from which the "
                "system gives them out; one below it is safer)"
            )
        return StartupError(f"{text}: stop that program, or use another port (0 takes a free one)")
    if error.errno == errno.EADDRNOTAVAIL:
        return StartupError(
            f"{address.host} is not an address of this machine: use one that is, 0.0.0.0 for all "
            "of them, or 127.0.0.1"
        )
    if error.errno == errno.EACCES:
        return StartupError(f"port {address.port} is not allowed for this user: use one above 1023")
    return StartupError(f"can't listen on {address}: {error}")
