"""Requests on their way out: whole, in order, and together where nobody waits for them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, FunctionType
from typing import Any

import pytest

from bgpy.calling.blocking.send_queue import GATHERED, OVERFULL, SendQueue
from bgpy.calling.blocking.waiting import set_tick
from bgpy.calling.conversation import Call


@pytest.fixture
def ends() -> Iterator[tuple[SendQueue, socket.socket]]:
    """A queue with a small buffer, and the end that it sends to."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    set_tick(ours)
    theirs.settimeout(30.0)
    with ours, theirs:
        yield SendQueue(ours), theirs


def test_small_call_leaves_at_once(ends: tuple[SendQueue, socket.socket]) -> None:
    """As a whole, and it is noted."""
    queue, sock = ends
    call = Call()
    queue.send(call, [b"abc"])
    assert sock.recv(10) == b"abc"
    assert (call.left, len(queue.waiting), queue.torn) == (True, 0, False)


def test_gathered_calls_leave_in_order_before_the_next_one(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """One system call takes them all."""
    queue, sock = ends
    calls = [Call() for _ in range(4)]
    for number, call in enumerate(calls[:3]):
        queue.gather(call, [b"%d" % number])
    queue.send(calls[3], [b"x"])
    assert sock.recv(10) == b"012x"
    assert all(call.left for call in calls)


def test_large_call_leaves_as_the_socket_takes_it(ends: tuple[SendQueue, socket.socket]) -> None:
    """Nothing waits; what is left is pushed on, and is whole in the end."""
    queue, sock = ends
    call, pieces = Call(), [os.urandom(size) for size in (1, 100_000, 16, 300_000)]
    queue.send(call, list(pieces))
    assert (call.begun, call.left) == (True, False)
    received = b""
    while len(received) < sum(map(len, pieces)):
        received += sock.recv(2**16)
        queue.push()
    assert received == b"".join(pieces)
    assert call.left


def test_call_is_taken_back_when_nothing_of_it_has_left(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """Those before and behind it leave."""
    queue, sock = ends
    first, second, third = Call(), Call(), Call()
    for call, piece in ((first, b"1"), (second, b"2"), (third, b"3")):
        queue.gather(call, [piece])
    assert queue.holds(second)
    queue.take_back(second)
    assert not queue.holds(second)
    queue.push()
    assert sock.recv(10) == b"13"


def test_nothing_leaves_from_an_outbox_that_was_interrupted(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """It would leave twice, perhaps."""
    queue, sock = ends
    queue.gather(Call(), [b"once"])
    queue.torn = True
    queue.push()
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_gathered_calls_leave_when_they_are_enough_or_alone(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """And not while others are expected, or when all was cleared."""
    queue, _ = ends
    queue.gather(Call(), [bytes(GATHERED - 1)])
    assert not queue.leaves(1000)
    queue.gather(Call(), [b"1"])
    assert queue.leaves(1000)
    queue.clear()
    assert not queue.leaves(1000)
    queue.gather(Call(), [b"1"])
    assert queue.leaves(1)
    assert not queue.leaves(2)


def test_send_raises_os_error_when_the_other_end_is_gone(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """Nothing was taken, so it is not torn."""
    queue, sock = ends
    sock.close()
    with pytest.raises(OSError, match=r".+"):
        queue.send(Call(), [b"x"])
    assert not queue.torn


def test_call_that_is_taken_back_leaves_its_room(ends: tuple[SendQueue, socket.socket]) -> None:
    """And those before and behind it where they were."""
    queue, sock = ends
    first, back, last = Call(), Call(), Call()
    queue.gather(first, [b"first"])
    queue.gather(back, [bytes(OVERFULL)])
    queue.gather(last, [b"last"])
    assert queue.is_overfull
    queue.take_back(back)
    assert not queue.leaves(1000)
    assert not queue.holds(back)
    queue.push()
    assert sock.recv(100) == b"firstlast"
    assert not queue.leaves(1000)


@pytest.mark.parametrize("pieces", [1, 3])
def test_gathering_that_is_struck_leaves_no_room_taken_for_ever(
    ends: tuple[SendQueue, socket.socket], pieces: int
) -> None:
    """At whichever instruction: the queue is whole, and empty it has all its room."""
    queue, sock = ends
    sock.settimeout(0.0)
    gather = queue.gather_one if pieces == 1 else queue.gather
    large = bytes(OVERFULL)
    for at in range(60):
        call = Call()
        data = large if pieces == 1 else [large] * pieces
        with suppress(KeyboardInterrupt), struck_at(at, SendQueue):
            gather(call, data)  # type: ignore[operator]
        assert len(queue.waiting) in (0, pieces)
        while queue.waiting:
            queue.push()
            with suppress(BlockingIOError):
                sock.recv(2**20)
        assert not queue.is_overfull
        assert not queue.leaves(1)


@contextmanager
def struck_at(count: int, where: type) -> Iterator[None]:
    """Raise `KeyboardInterrupt` at that instruction of the methods of a class."""
    codes = {each.__code__ for each in vars(where).values() if isinstance(each, FunctionType)}
    left = count

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
