"""Connections that may speak TLS or not."""

from __future__ import annotations

import socket

import pytest

from bgpy.tls.either import PlainOrTls
from bgpy.tls.layer import RECORD
from bgpy.tls.stream import TlsSocket
from tests.support.ends import engines


@pytest.mark.parametrize(("first", "is_tls"), [(b"\x16", True), (b"\xb9", False), (b"", False)])
def test_first_byte_tells_whether_tls_is_spoken(
    monkeypatch: pytest.MonkeyPatch,
    first: bytes,
    is_tls: bool,
) -> None:
    """It is looked at only, and belongs to what is spoken; the end of the stream is plain."""
    ours, theirs = socket.socketpair()
    received: list[bytes] = []

    def make() -> TlsSocket:
        return TlsSocket(ours, engines()[1], memoryview(bytearray(RECORD)))

    def keep(end: TlsSocket, memory: memoryview) -> int:
        received.append(ours.recv(10))
        return 1

    monkeypatch.setattr(TlsSocket, "recv_into", keep)
    with ours, theirs:
        either = PlainOrTls(ours, make)
        theirs.sendall(first)
        theirs.shutdown(socket.SHUT_WR)
        memory = memoryview(bytearray(RECORD))
        count = either.recv_into(memory)
    assert either.is_tls is is_tls
    assert (received or [bytes(memory[:count])]) == [first]
