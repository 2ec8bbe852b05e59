"""A connection as a session sees it, over a real socket."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from bgpy.serving.io.transport import Stream, StreamTransport, _joined
from bgpy.system.sockets import MOST_PIECES
from tests.support.stream_contract import CONTRACT
from tests.support.streams import STREAMS

Ends = tuple[StreamTransport, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A transport and the socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    with ours, theirs:
        yield StreamTransport(ours), theirs


def test_receiving_tells_what_came_nothing_and_the_end_apart(ends: Ends) -> None:
    """Bytes, None, and 0."""
    transport, peer = ends
    memory = memoryview(bytearray(8))
    assert transport.receive_into(memory) is None
    peer.sendall(b"abc")
    assert transport.receive_into(memory) == 3
    assert bytes(memory[:3]) == b"abc"
    peer.close()
    assert transport.receive_into(memory) == 0


@pytest.mark.parametrize("pieces", [[b"one"], [b"one", bytearray(b"two"), memoryview(b"three")]])
def test_sending_keeps_the_order_of_pieces(ends: Ends, pieces: list[bytes]) -> None:
    """One goes by itself, several in one system call."""
    transport, peer = ends
    whole = b"".join(pieces)
    assert list(transport.sending(pieces)) == [len(whole)]
    assert peer.recv(100) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="takes one piece, of joined ones")
def test_sending_takes_no_more_pieces_than_a_system_call_does(ends: Ends) -> None:
    """The others are offered again."""
    transport, peer = ends
    assert list(transport.sending([b"x"] * (MOST_PIECES + 9))) == [MOST_PIECES]
    assert len(peer.recv(10_000)) == MOST_PIECES


def _fill(transport: StreamTransport) -> None:
    while True:
        assert all(transport.sending([bytes(2**20)]))


def test_full_socket_takes_nothing_and_says_when_it_takes_more(ends: Ends) -> None:
    """It never waits, but in `wait_writable`."""
    transport, peer = ends
    with pytest.raises(BlockingIOError):
        _fill(transport)
    assert not transport.wait_writable(0)
    while not transport.wait_writable(0.1):
        assert peer.recv(2**20)
    assert transport.wait_writable(60)


def test_end_leaves_the_other_way_open(ends: Ends) -> None:
    """The peer reads to the end, and may answer."""
    transport, peer = ends
    transport.end()
    assert peer.recv(1) == b""
    peer.sendall(b"answer")
    assert transport.receive_into(memoryview(bytearray(10))) == 6
    transport.shut_down()
    transport.shut_down()  # harmless if repeated, and if the peer was first


@pytest.mark.parametrize(
    ("pieces", "together"),
    [([b"a", b"b"], b"ab"), ([bytes(2**20), b"b"], bytes(2**20)), ([b"a"], b"a")],
)
def test_small_pieces_are_joined_where_a_system_call_takes_one(
    pieces: list[bytes], together: bytes
) -> None:
    """Large ones are not copied for it."""
    assert bytes(_joined(pieces)) == together


@pytest.mark.parametrize("keeps", CONTRACT)
@pytest.mark.parametrize("kind", STREAMS)
def test_every_stream_keeps_the_contract(
    kind: str, keeps: Callable[[Stream, Stream], None]
) -> None:
    """A session can't tell which one it has."""
    ours, theirs = STREAMS[kind]()
    ours.setblocking(False)
    with closing(ours), closing(theirs):
        keeps(ours, theirs)
