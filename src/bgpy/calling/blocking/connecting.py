"""From an address to an authenticated socket."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from bgpy.address import Address, dialled
from bgpy.calling.blocking.dialling import Reached, limit, reach, silent, tls_modules
from bgpy.calling.blocking.hanging import hanging
from bgpy.calling.blocking.missing import missing
from bgpy.calling.blocking.refused import of_token
from bgpy.codec.payload import within
from bgpy.digests import hashing
from bgpy.encryption import Encryption, encryption
from bgpy.errors import (
    Advice,
    ArgumentError,
    AuthenticationError,
    BgpyError,
    NotBgpy,
    NotRunning,
    Unreachable,
)
from bgpy.late import json
from bgpy.memory import allocate
from bgpy.shortage import shortage
from bgpy.state.tokens import FoundToken
from bgpy.system.keepalive import keep_alive
from bgpy.system.strikes import is_strike
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake, Welcome

FindToken = Callable[[], FoundToken | None]

GIVE_TLS = Advice(
    "if it is a bgpy server that speaks TLS only, give tls=True",
    "if it is a bgpy server that speaks TLS only, give --tls",
)

NOTHING_BEHIND = (
    "if a tunnel or another forwarder listens there (ssh -L), no server runs at its other end: "
    "start one there; {}; else another program has that port, or the server is shutting down"
)

ONCE_MORE = 1.0
"""Seconds that a client has to connect once more to what has closed the connection at once; one
that knows the server has all its time."""

RECEIVED = 2**14
"""Bytes received at once."""


class Target(NamedTuple):
    """Which server a client talks to, and how."""

    address: Address
    tls: bool | None
    """None where the address decides."""
    find_token: FindToken
    look: Callable[[], object] = bool
    """Called in a thread of the program's, for a call that a connection is made for."""


class Connected(NamedTuple):
    """A socket over which both sides have proved the token."""

    reached: Reached
    connection: Connection
    welcome: Welcome


def import_for(target: Target) -> None:
    """Import what `connect` would import.

    In the thread that waits for a connection: where that is in the midst of such an import, in a
    ``__del__`` that the collector runs, the one that connects would wait for it for ever.
    """
    hashing()
    json()
    with suppress(ArgumentError):  # told by `connect`, where what is dialled is known
        if encryption(dialled(target.address), target.tls) is not Encryption.NONE:
            tls_modules()


def prepare(target: Target) -> None:
    """Import what `connect` and its channel would import, as long as that is possible."""
    weakref.finalize(prepare, bool).detach()  # whose first use imports something
    with suppress(Exception):  # whatever is wrong is told to the call that needs it
        import_for(target)
        target.find_token()


def connect(target: Target, client_id: bytes, timeout: float, has_met: bool = False) -> Connected:
    """Connect to `target` and prove the token, within `timeout` seconds.

    `has_met` says that the client was connected to the server before. Raises `NotRunning`,
    `Unreachable`, `NotBgpy`, `AuthenticationError` or `VersionMismatch`; nothing of a request was
    sent then.
    """
    deadline = monotonic() + timeout
    try:
        return _connect_once(target, client_id, timeout, has_met)
    except NotBgpy as error:
        if is_strike(error) or not _has_hung_up(error):
            raise
        left = deadline - monotonic()
        return _connect_again(target, client_id, left, error, has_met)


def _connect_again(
    target: Target, client_id: bytes, left: float, before: NotBgpy, has_met: bool
) -> Connected:
    """As `connect`, where the connection was closed `before` both sides had proved the token.

    A server that ends closes its port first, and then what has connected meanwhile: so this tells
    whether it is gone, or has been started anew.
    """
    try:
        seconds = left if has_met else min(left, ONCE_MORE)
        return _connect_once(target, client_id, seconds, has_met)
    except Unreachable as error:
        if has_met or is_strike(error):
            raise
        raise before from before.__cause__
    except NotBgpy as error:
        if is_strike(error) or not has_met or not _has_hung_up(error):
            raise
        raise _taking_nobody(target.address) from error.__cause__


def _connect_once(target: Target, client_id: bytes, timeout: float, has_met: bool) -> Connected:
    try:
        return _connect(target, client_id, timeout)
    except NotRunning as error:
        if is_strike(error):
            raise
        raise missing(target.address, target.find_token, error, has_met) from error.__cause__
    except OSError as error:  # a socket's, or one that was made of a file's or an import's
        if is_strike(error):
            raise
        short = shortage(error)
        if short is None and isinstance(error, Unreachable):
            raise hanging(target.address, error) from error.__cause__
        if short is None:
            raise
        raise Unreachable(
            f"no connection to {target.address} can be made: {short.problem}",
            advice=short.advice,
            address=target.address,
        ) from error


def _connect(target: Target, client_id: bytes, timeout: float) -> Connected:
    deadline = monotonic() + timeout
    reached = reach(target.address, target.tls, deadline)
    try:
        if target.address.path is None:
            keep_alive(reached.sock)
        found = target.find_token()
        token = None if found is None else found.token
        handshake = ClientHandshake(client_id, os.urandom(32), token, reached.binding)
        connection = Connection.client_side(handshake, allocate, within)
        try:
            _shake_hands(reached, connection, target.address, deadline)
        except AuthenticationError as error:
            if is_strike(error):
                raise
            # A server that is just starting takes connections into its backlog before its token
            # can be found; it answers them when the token can.
            later = target.find_token()
            if later is None or later == found:
                raise of_token(target.address, found, error) from error
            reached.sock.close()
            again = target._replace(find_token=lambda: later)
            return _connect(again, client_id, deadline - monotonic())
        return Connected(reached, connection, handshake.welcome)
    except BaseException:
        reached.sock.close()
        raise


def _shake_hands(
    reached: Reached, connection: Connection, address: Address, deadline: float
) -> None:
    sock, buffer, heard = reached.sock, memoryview(bytearray(RECEIVED)), False
    try:
        while not connection.established:
            outgoing = connection.take_outgoing()
            while outgoing:
                outgoing = outgoing[sock.send(outgoing) :]
            limit(sock, deadline)
            try:
                count = sock.recv_into(buffer)
            except BlockingIOError as error:
                if is_strike(error):
                    raise
                continue  # a part of what TLS says: the deadline stays
            if not count:
                raise ConnectionResetError("the stream ended")
            heard = True
            if connection.receive(buffer[:count]):
                # Behind the welcome: no request has asked for anything else.
                raise ConnectionResetError("the server said goodbye")
    except (BgpyError, OSError) as error:
        if is_strike(error):
            raise
        if isinstance(error, NotBgpy):
            raise _not_bgpy(address, error) from None
        if isinstance(error, BgpyError):
            error.address = str(address)
            raise
        if isinstance(error, TimeoutError):
            raise silent(address) from error
        plain = not reached.binding and address.path is None
        raise _closed_early(address, at_once=plain and not heard) from error


def _closed_early(address: Address, at_once: bool) -> NotBgpy:
    if at_once:
        return NotBgpy(
            f"{address} closed the connection at once, without a word",
            advice=Advice(NOTHING_BEHIND.format(GIVE_TLS.api), NOTHING_BEHIND.format(GIVE_TLS.cli)),
            address=address,
        )
    return NotBgpy(
        f"{address} closed the connection during the handshake: it may not be a bgpy server, or "
        "may be shutting down",
        address=address,
    )


def _has_hung_up(error: NotBgpy) -> bool:
    """Whether nothing is known of the other side but that it has closed the connection."""
    return isinstance(error.__cause__, (ConnectionResetError, BrokenPipeError))


def _taking_nobody(address: Address) -> Unreachable:
    """The error of a client that was connected to the server, and finds the connection closed."""
    return Unreachable(
        f"the server at {address}, which this client was connected to before, has closed two "
        "connections during the handshake",
        advice="it has no room for more clients now (max_connections), or is shutting down: try "
        "again; if a tunnel or another forwarder leads there (ssh -L), it may have ended at the "
        "other end: start it again there",
        address=address,
    )


def _not_bgpy(address: Address, error: NotBgpy) -> NotBgpy:
    speaks_tls = error.speaks == "TLS"
    made = NotBgpy(
        f"{address} is not a bgpy server: {error.problem}",
        advice=GIVE_TLS if speaks_tls else None,
        address=address,
    )
    made.speaks = error.speaks
    return made
