"""Connected pairs of every kind of stream that sessions use, with small buffers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

from bgpy.serving.io.transport import Stream
from bgpy.tls.either import PlainOrTls
from bgpy.tls.stream import TlsSocket
from tests.support.ends import established

Ends = tuple[Stream, Stream]
"""The server's end of a connection, and the client's, which doesn't block."""


def _plain() -> Ends:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.setblocking(False)
    return ours, theirs


def _tls() -> Ends:
    ends = cast("tuple[socket.socket, socket.socket]", _plain())
    client, server = established()
    ours, theirs = (
        TlsSocket(sock, layer, memoryview(bytearray(2**17)))
        for sock, layer in zip(ends, (server, client), strict=True)
    )
    return ours, theirs


def _either(make: Callable[[], Ends]) -> Ends:
    """An end that has found out which of the two it is."""
    ours, theirs = make()
    either = PlainOrTls(cast(socket.socket, ours), lambda: cast(TlsSocket, ours))
    either._undecided = False
    return either, theirs


STREAMS: dict[str, Callable[[], Ends]] = {
    "plain": _plain,
    "tls": _tls,
    "plain or tls: plain": lambda: _either(_plain),
    "plain or tls: tls": lambda: _either(_tls),
}
