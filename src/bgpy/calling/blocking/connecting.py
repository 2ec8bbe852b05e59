"""From an address to an authenticated socket."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from bgpy.address import Address
from bgpy.calling.blocking.dialling import Reached, limit, reach
from bgpy.codec.payload import within
from bgpy.errors import BgpyError, NotBgpy, Unreachable
from bgpy.memory import allocate
from bgpy.system.keepalive import keep_alive
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake, Welcome

FindToken = Callable[[], str | None]

RECEIVED = 2**14
"""Bytes received at once."""


class Target(NamedTuple):
    """Which server a client talks to, and how."""

    address: Address
    tls: bool | None
    """None where the address decides."""
    find_token: FindToken


class Connected(NamedTuple):
    """A socket over which both sides have proved the token."""

    reached: Reached
    connection: Connection
    welcome: Welcome


def connect(target: Target, client_id: bytes, timeout: float) -> Connected:
    """Connect to `target` and prove the token, within `timeout` seconds.

    Raises `NotRunning`, `Unreachable`, `NotBgpy`, `AuthenticationError` or
    `VersionMismatch`; nothing of a request was sent then.
    """
    deadline = monotonic() + timeout
    reached = reach(target.address, target.tls, deadline)
    try:
        if target.address.path is None:
            keep_alive(reached.sock)
        token = target.find_token()
        handshake = ClientHandshake(client_id, os.urandom(32), token, reached.binding)
        connection = Connection.client_side(handshake, allocate, within)
        _shake_hands(reached, connection, target.address, deadline)
        return Connected(reached, connection, handshake.welcome)
    except BaseException:
        reached.sock.close()
        raise


def _shake_hands(
    reached: Reached, connection: Connection, address: Address, deadline: float
) -> None:
    sock, buffer = reached.sock, memoryview(bytearray(RECEIVED))
    try:
        while not connection.established:
            outgoing = connection.take_outgoing()
            while outgoing:
                outgoing = outgoing[sock.send(outgoing) :]
            limit(sock, deadline)
            try:
                count = sock.recv_into(buffer)
            except BlockingIOError:
                continue  # a part of what TLS says: the time goes on
            if not count:
                raise ConnectionResetError("the stream ended")
            connection.receive(buffer[:count])
    except TimeoutError as error:
        raise Unreachable(
            f"{address} accepts connections and did not answer in time: is it a bgpy server, "
            "and is its process running?"
        ) from error
    except NotBgpy as error:
        raise NotBgpy(_not_bgpy(address, error)) from None
    except BgpyError:
        raise
    except OSError as error:
        tls = "" if reached.binding or address.path else "it speaks TLS only (give tls=True), "
        raise NotBgpy(
            f"{address} closed the connection during the handshake: it is not a bgpy server, "
            f"{tls}or it is just ending"
        ) from error


def _not_bgpy(address: Address, error: NotBgpy) -> str:
    text = f"{address} is not a bgpy server: {error}"
    return f"{text}; if it is one that speaks TLS, give tls=True" if "TLS" in text else text
