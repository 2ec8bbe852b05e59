"""The client's end of TLS: its handshake, and what is left when a handler raises in `send`."""

from __future__ import annotations

import select
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from bgpy.tls.dialled import DialledTls
from bgpy.tls.layer import RECORD, TlsLayer
from bgpy.tls.stream import TlsSocket
from tests.support.ends import engines, established
from tests.support.strikes import Struck, strike

Pair = tuple[socket.socket, socket.socket]

PLACES = 100
"""More lines than `send` has."""


@pytest.fixture
def sockets() -> Iterator[Pair]:
    """Two connected sockets."""
    pair = socket.socketpair()
    with pair[0], pair[1]:
        yield pair


def _server(sock: socket.socket, layer: TlsLayer) -> TlsSocket:
    sock.setblocking(False)
    return TlsSocket(sock, layer, memoryview(bytearray(2**17)))


@pytest.mark.parametrize("before", [b"", b"\x16", b"\x16\x03\x03\x00\x50"])
def test_shake_hands_raises_when_the_stream_ends_before(sockets: Pair, before: bytes) -> None:
    """A server that closes leaves nobody asking it again and again."""
    ours, theirs = sockets
    client = DialledTls(ours, engines()[0])
    theirs.sendall(before)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):  # noqa: PT012
        while not client.shake_hands():
            pass


def _received_to_the_end(end: TlsSocket) -> bytes:
    """What comes until the other side has ended; `NotTls` where that isn't TLS."""
    memory, received = memoryview(bytearray(2**18)), b""
    while True:
        assert select.select([end], [], [], 30.0)[0]
        try:
            count = end.recv_into(memory)
        except BlockingIOError:
            continue
        if not count:
            return received
        received += bytes(memory[:count])


def test_other_side_finds_an_end_and_nothing_broken_when_a_handler_raised_in_send() -> None:
    """Data that was encrypted and lost is followed by nothing, not even by TLS's own word."""
    seen, through = set(), False
    for at in range(PLACES):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            layers = established()
            client, server = DialledTls(ours, layers[0]), _server(theirs, layers[1])
            client.send(b"before")
            try:
                through = strike(at, client.send, b"struck")
            except Struck:
                pass
            client.shutdown(socket.SHUT_RDWR)
            came = _received_to_the_end(server)
            assert came in (b"before", b"beforestruck")
            seen.add((came, server._layer.ended))
        if through:
            break
    assert through
    # Not sent yet; encrypted and lost, so that nothing may follow; sent.
    assert seen == {(b"before", True), (b"before", False), (b"beforestruck", True)}


def test_send_leaves_its_lock_free_wherever_a_handler_raises(sockets: Pair) -> None:
    """Another thread may be about to send its last."""
    client = DialledTls(sockets[0], established()[0])
    for at in range(PLACES):
        try:
            through = strike(at, client.send, b"struck")
        except Struck:
            through = False
        assert not client._lock.locked()  # type: ignore[union-attr]
        if through:
            return
    raise AssertionError("there are more places than were tried")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timers that signal")
def test_shutdown_leaves_its_lock_free_when_a_handler_raises(sockets: Pair) -> None:
    """Wherever: right behind the call that has taken it, too."""
    client = DialledTls(sockets[0], established()[0])
    strikes, armed = 0, False

    def strike_once(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Struck

    before = signal.signal(signal.SIGALRM, strike_once)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.00031)
    try:
        while strikes < 200:
            try:
                armed = True
                while armed:
                    client.shutdown(socket.SHUT_WR)
            except Struck:
                strikes += 1
            assert not client._lock.locked()  # type: ignore[union-attr]
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_send_of_much_leaves_in_chunks(sockets: Pair) -> None:
    """As any other socket that speaks TLS sends it; what is left is offered again, first."""
    layers = established()
    client, server = DialledTls(sockets[0], layers[0]), _server(sockets[1], layers[1])
    sockets[0].setblocking(False)
    data = memoryview(bytes(range(256)) * 4000)
    memory, sent, received = memoryview(bytearray(RECORD)), 0, b""
    while len(received) < len(data):
        if sent < len(data):
            try:
                sent += client.send(data[sent:])
            except BlockingIOError:
                pass
        try:
            received += bytes(memory[: server.recv_into(memory)])
        except BlockingIOError:
            pass
    assert received == data
