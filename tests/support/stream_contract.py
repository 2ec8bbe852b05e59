"""What every stream of a session keeps, whichever kind it is: one suite for all.

A new kind is one more entry in `tests.support.streams.STREAMS`; `test_transport.py` has each
of them pass each of `CONTRACT`.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Sequence

import pytest

from bgpy.memory import Piece
from bgpy.serving.io.transport import Stream
from bgpy.serving.sessions.send_buffer import after
from bgpy.system.sockets import READABLE, poll

ROOM = 2**15
"""Bytes of memory to receive into: more than the least that a stream may be given."""


LONG = 30.0
"""Seconds in which what was sent through the loopback has come, also where that takes time."""


def receive(stream: Stream, wanted: int = 0) -> bytes:
    """All that is there; at least `wanted` bytes, unless the end or nothing comes for long."""
    memory, received, waits = memoryview(bytearray(ROOM)), bytearray(), 0
    while waits < 2:  # a part of something may have come first
        try:
            count = stream.recv_into(memory)
        except BlockingIOError:
            is_coming = len(received) < wanted and poll(stream, LONG, READABLE)
            waits += not is_coming
        else:
            received += memory[:count]
            if not count:
                break
    return bytes(received)


def send(ours: Stream, theirs: Stream, pieces: Sequence[Piece], one_by_one: bool) -> bytes:
    """Offer `pieces` until all are taken, and give what has come out."""
    left, got = list(pieces), bytearray()
    while left:
        try:
            many = not one_by_one and sys.platform != "win32"
            taken = ours.sendmsg(left) if many else ours.send(left[0])
        except BlockingIOError:
            taken = 0
        assert 0 <= taken <= sum(map(len, left))
        left = after(left, taken)
        got += receive(theirs)
    return bytes(got + receive(theirs, sum(map(len, pieces)) - len(got)))


def whole_and_in_order(ours: Stream, theirs: Stream) -> None:
    """What is not taken is offered again, first, until all has left: nothing is lost or doubled."""
    data = bytes(range(256)) * 1200
    for one_by_one in (True, False):
        pieces: list[Piece] = [
            data[:1],
            memoryview(data)[1:70_001],
            data[70_001:70_002],
            memoryview(data)[70_002:],
        ]
        assert send(ours, theirs, pieces, one_by_one) == data
        assert send(theirs, ours, pieces, one_by_one) == data


def nothing_there_is_not_the_end(ours: Stream, theirs: Stream) -> None:
    """It is `BlockingIOError`; the end is 0, after all that was sent."""
    with pytest.raises(BlockingIOError):
        ours.recv_into(memoryview(bytearray(ROOM)))
    assert send(theirs, ours, [b"the last"], True) == b"the last"
    theirs.close()
    assert poll(ours, LONG, READABLE)
    assert ours.recv_into(memoryview(bytearray(ROOM))) == 0


def no_room_is_not_the_end(ours: Stream, theirs: Stream) -> None:
    """What doesn't block either takes a part or raises `BlockingIOError`, and goes on later."""
    sent = 0
    chunk = bytes(2**14)
    refusals = 0
    while refusals < 3:  # of TLS the last byte of each offer may stay behind, once
        try:
            taken = ours.send(chunk[sent % len(chunk) :] or chunk)
        except BlockingIOError:
            taken = 0
        sent += taken
        refusals = 0 if taken else refusals + 1
    got = receive(theirs)
    while sent % len(chunk):
        try:
            sent += ours.send(chunk[sent % len(chunk) :])
        except BlockingIOError:
            pass
        got += receive(theirs)
    assert len(got + receive(theirs, sent - len(got))) == sent


def readable_where_it_is_polled(ours: Stream, theirs: Stream) -> None:
    """What can be received can be seen by the descriptor, or has been received already."""
    if sys.platform == "win32":
        return
    poller = select.poll()
    poller.register(ours.fileno(), select.POLLIN)
    assert poller.poll(0) == []
    theirs.send(b"x" * 5000)
    assert poller.poll(30_000)
    receive(ours)
    assert poller.poll(0) == []


CONTRACT: list[Callable[[Stream, Stream], None]] = [
    whole_and_in_order,
    nothing_there_is_not_the_end,
    no_room_is_not_the_end,
    readable_where_it_is_polled,
]
