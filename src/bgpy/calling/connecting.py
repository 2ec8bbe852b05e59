"""From an address to an authenticated socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from bgpy.address import Address, is_loopback, resolve
from bgpy.codec.memory import allocate
from bgpy.errors import (
    BgpyError,
    NotBgpy,
    NotRunning,
    Unreachable,
)
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake, Welcome

FindToken = Callable[[], str | None]


class Connected(NamedTuple):
    """A socket over which both sides have proved the token."""

    sock: socket.socket
    connection: Connection
    welcome: Welcome


def connect(address: Address, find_token: FindToken, client_id: bytes, timeout: float) -> Connected:
    """Connect to `address` and prove the token, within `timeout` seconds.

    Raises `NotRunning`, `Unreachable`, `NotBgpy`, `AuthenticationError` or
    `VersionMismatch`; nothing of a request was sent then.
    """
    deadline = monotonic() + timeout
    sock = _reach(address, deadline)
    try:
        handshake = ClientHandshake(client_id, os.urandom(32), find_token())
        connection = Connection.client_side(handshake, allocate)
        _shake_hands(sock, connection, address, deadline)
        return Connected(sock, connection, handshake.welcome)
    except BaseException:
        sock.close()
        raise


def _reach(address: Address, deadline: float) -> socket.socket:
    try:
        if not is_loopback(address):
            raise Unreachable(
                f"{address} is beyond this machine, and this version speaks to loopback "
                "addresses only: forward a local port to it, for example with "
                f"'ssh -L {address.port}:127.0.0.1:{address.port} HOST'"
            )
        places = resolve(address)
    except OSError as error:
        if isinstance(error, BgpyError):
            raise
        raise Unreachable(f"{address.host} is no known host: {error}") from error
    for place in places:
        try:
            sock = socket.create_connection(place, max(0.001, deadline - monotonic()))
        except OSError as error:
            failure: OSError = error
            continue
        try:
            if sock.getsockname() != sock.getpeername():
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
            # A port of the ephemeral range that nobody listens on can connect to itself.
            failure = ConnectionRefusedError("nothing listens there")
        except OSError as error:
            failure = error  # closed already by the other side
        sock.close()
    if isinstance(failure, ConnectionRefusedError):
        raise NotRunning(
            f"nothing runs at {address}: start a server there, or correct the address"
        ) from failure
    raise Unreachable(f"{address} can't be reached: {failure}") from failure


def _shake_hands(
    sock: socket.socket, connection: Connection, address: Address, deadline: float
) -> None:
    try:
        while not connection.established:
            outgoing = connection.take_outgoing()
            if outgoing:
                sock.sendall(outgoing)
            sock.settimeout(max(0.001, deadline - monotonic()))
            received = sock.recv(4096)
            if not received:
                raise ConnectionResetError("the stream ended")
            connection.receive(received)
    except TimeoutError as error:
        raise Unreachable(
            f"{address} accepts connections and did not answer in time: is it a bgpy server, "
            "and is its process running?"
        ) from error
    except NotBgpy as error:
        raise NotBgpy(f"{address} is not a bgpy server: {error}") from None
    except BgpyError:
        raise
    except OSError as error:
        raise NotBgpy(_closed(address)) from error


def _closed(address: Address) -> str:
    return (
        f"{address} closed the connection during the handshake: it is not a bgpy server, "
        "or it is just ending"
    )
