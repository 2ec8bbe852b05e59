"""From an address to a connected socket, over which TLS is spoken where it has to be.

::

    Unix socket          plain, and the server's user is looked at
    loopback             plain, or TLS where it was asked for
    beyond loopback      TLS, always
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from bgpy.address import NO_UNIX_SOCKETS, USE_LOOPBACK, Address, dialled, resolve
from bgpy.calling.blocking.racing import race
from bgpy.encryption import Encryption, encryption
from bgpy.errors import (
    ArgumentError,
    AuthenticationError,
    ConnectError,
    NotBgpy,
    NotRunning,
    Unreachable,
)
from bgpy.late import once
from bgpy.shortage import no_descriptor
from bgpy.system import processes
from bgpy.system.strikes import is_strike

if TYPE_CHECKING:
    from bgpy.calling.blocking.waiting import Stream

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two attempts at a Unix socket whose backlog is full."""


class Reached(NamedTuple):
    """A connection to something that listens at an address."""

    sock: Stream
    binding: bytes
    """SHA-256 of the server's certificate over TLS, else empty."""


def reach(address: Address, tls: bool | None, deadline: float) -> Reached:
    """Connect to `address` by `deadline`; `tls` is None where the address decides.

    Raises `NotRunning`, `Unreachable`, `NotBgpy` or `AuthenticationError`.
    """
    if address.path is not None:
        return Reached(_reach_unix(address, address.path, deadline), b"")
    sock, place = _reach_tcp(address, deadline)
    try:
        try:
            decided = encryption(place, tls)
        except ArgumentError as error:  # a name, which stands for another machine
            raise Unreachable(error.problem, advice=error.advice, address=address) from error
        if decided is Encryption.NONE:
            return Reached(sock, b"")
        return _secured(sock, address, deadline)
    except BaseException:
        sock.close()
        raise


def _reach_tcp(address: Address, deadline: float) -> tuple[socket.socket, Address]:
    try:
        places = resolve(dialled(address))
    except OSError as error:
        if is_strike(error):
            raise
        if no_descriptor():  # which the resolver tells in no way that can be relied on
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
        raise Unreachable(
            f"the host {address.host} can't be resolved ({error})",
            advice="check this machine's connection, or use an IP address"
            if error.errno == socket.EAI_AGAIN
            else "correct the name, or use an IP address",
            address=address,
        ) from error
    try:
        return race(places, deadline)
    except OSError as error:
        if is_strike(error):
            raise
        raise _no_way(address, error) from error


def _no_way(address: Address, error: OSError) -> ConnectError:
    if isinstance(error, ConnectionRefusedError):
        return NotRunning(
            f"nothing runs at {address}",
            advice="start a server there, or correct the address",
            address=address,
        )
    if isinstance(error, TimeoutError):
        if address.path is not None:
            return Unreachable(
                f"{address} is not accepting connections: its backlog stayed full",
                advice="check whether its process is stopped or hung",
                address=address,
            )
        return Unreachable(
            f"{address} can't be reached (no answer in time)",
            advice="check whether that machine is on, and whether a firewall on the way lets TCP "
            f"to port {address.port} through",
            address=address,
        )
    return Unreachable(f"{address} can't be reached: {error}", address=address)


if sys.platform == "win32":

    def _reach_unix(address: Address, path: str, deadline: float) -> socket.socket:
        raise Unreachable(NO_UNIX_SOCKETS, advice=USE_LOOPBACK, address=address)

else:

    def _reach_unix(address: Address, path: str, deadline: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect_unix(sock, path, deadline)
            uid = processes.peer_uid(sock)
            if uid != os.geteuid():
                raise AuthenticationError(
                    f"the server at {address} runs as uid {uid}, but this program runs as uid "
                    f"{os.geteuid()}: a Unix-socket server accepts only its own user",
                    advice="use a port on 127.0.0.1",
                    address=address,
                )
            return sock
        except OSError as error:
            sock.close()
            if is_strike(error) or isinstance(error, AuthenticationError):
                raise
            if isinstance(error, FileNotFoundError):
                error = ConnectionRefusedError(error.errno, "no such socket")
            raise _no_way(address, error) from error
        except BaseException:
            sock.close()
            raise

    def _connect_unix(sock: socket.socket, path: str, deadline: float) -> None:
        """Connect; where the backlog is full nothing tells when there is room: try again."""
        pause = FIRST_PAUSE
        while True:
            left = deadline - monotonic()
            sock.settimeout(max(0.001, left))
            try:
                return sock.connect(path)
            except BlockingIOError as error:
                if is_strike(error):
                    raise
                if left <= pause:
                    raise TimeoutError(errno.ETIMEDOUT, "its backlog is full") from None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def limit(sock: Stream, deadline: float) -> None:
    """Let `sock` wait until `deadline`; raises `TimeoutError` where that is over.

    Who sends a little again and again would be waited for without end otherwise.
    """
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "the time is over")
    sock.settimeout(left)


def silent(address: Address) -> Unreachable:
    """The error of what takes connections and says nothing."""
    return Unreachable(
        f"{address} accepted the connection but did not answer in time",
        advice="check whether it is a bgpy server, and whether its process is stopped",
        address=address,
    )


@once
def tls_modules() -> tuple[ModuleType, ModuleType, ModuleType]:
    """All of TLS: `ssl` takes longer than the rest of a client, which may not need it."""
    from bgpy.tls import contexts, dialled, layer

    return contexts, dialled, layer


def _secured(sock: socket.socket, address: Address, deadline: float) -> Reached:
    contexts, dialled, layer = tls_modules()
    secured = dialled.DialledTls(sock, layer.TlsLayer(contexts.for_client(), False))
    try:
        while not secured.shake_hands():
            limit(sock, deadline)
    except OSError as error:
        if is_strike(error):
            raise
        if isinstance(error, TimeoutError):
            raise silent(address) from error
        if isinstance(error, layer.NotTls):
            raise NotBgpy(
                f"{address} is not a bgpy server that speaks TLS: {error}", address=address
            ) from error
        raise NotBgpy(
            f"{address} closed the connection in the TLS handshake: it may not be a bgpy "
            "server, may have been started without TLS, may be shutting down, or may be a "
            "forwarder with no server at its other end",
            address=address,
        ) from error
    return Reached(secured, secured.fingerprint)
