"""What leaves through a session: whole and in order, whoever sends, comes back or strikes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import Limits
from bgpy.memory import Piece
from bgpy.serving.budget import Budget
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions import outflow as outflow_module
from bgpy.serving.sessions.outflow import Outflow


class Strike(BaseException):
    """What a signal handler of a task's raises."""


class Taker(NamedTuple):
    """What a transport's socket is to an outflow."""

    transport: Socket

    def send(self, piece: Piece) -> int:
        return self.transport.send([piece])


class Socket:
    """A transport that takes so much at each call, and does something before or after it."""

    def __init__(self, takes: list[int] | None = None) -> None:
        self.takes = takes
        self.got = bytearray()
        self.before: Callable[[], None] = lambda: None
        self.writable = False
        self.closed = False

    @property
    def sock(self) -> Taker:
        return Taker(self)

    def sending(self, pieces: Sequence[Piece]) -> Iterator[int]:
        return map(self.send, (pieces,))

    def send(self, pieces: Sequence[Piece]) -> int:
        self.before()
        data = b"".join(pieces)
        take = len(data) if self.takes is None else self.takes.pop(0) if self.takes else 0
        self.got += data[:take]
        return min(take, len(data))

    def wait_writable(self, seconds: float) -> bool:
        return self.writable

    def close(self) -> None:
        self.closed = True


def _outflow(socket: Socket, budget: Budget | None = None, **limits: int) -> Outflow:
    attended.clear()
    return Outflow(
        cast(Transport, socket),
        Limits(**limits),
        budget or Budget(2**32),
        lambda: attended.append(True),
    )


attended: list[bool] = []
"""One for each time that whoever polls was asked to look after the outflow."""


def _message(number: int, large: bool) -> list[Piece]:
    text = bytes((number,)) * 40
    return [text, memoryview(bytearray(text))] if large else [text]


def _send(outflow: Outflow, pieces: list[Piece], more: bool) -> None:
    """As a session sends: what is small and may wait goes the short way where there is one."""
    (first, *others) = pieces
    if others or not more or not isinstance(first, bytes) or not outflow.gather(first):
        outflow.send(pieces, more)


MESSAGES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8)


@given(MESSAGES, st.lists(st.integers(0, 200), max_size=12))
def test_outflow_sends_all_in_order_when_the_socket_takes_any_part(
    messages: list[tuple[bool, bool]], takes: list[int]
) -> None:
    """Small and large, gathered or not, through partial sends."""
    socket = Socket(list(takes))
    outflow = _outflow(socket)
    sent = [_message(number, large) for number, (large, _) in enumerate(messages)]
    for pieces, (_, more) in zip(sent, messages, strict=True):
        _send(outflow, pieces, more)
    socket.takes = None
    assert attended or not outflow.waiting
    outflow.flush()
    assert bytes(socket.got) == b"".join(b"".join(pieces) for pieces in sent)
    assert not outflow.waiting


@given(MESSAGES, st.lists(st.integers(0, 200), max_size=12), st.integers(0, 12))
def test_outflow_sends_all_once_when_an_exception_strikes_as_the_socket_takes(
    messages: list[tuple[bool, bool]], takes: list[int], strike: int
) -> None:
    """A handler runs when the call returns, and what the call took is not forgotten."""
    socket = Socket(list(takes))
    outflow = _outflow(socket)
    strikes = iter(range(strike, -1, -1))

    def maybe() -> None:
        if next(strikes, 1) == 0:
            raise Strike

    socket.before = maybe
    sent = [_message(number, large) for number, (large, _) in enumerate(messages)]
    for pieces, (_, more) in zip(sent, messages, strict=True):
        try:
            _send(outflow, pieces, more)
        except Strike:
            assert attended
    socket.before, socket.takes = lambda: None, None
    outflow.flush()
    assert bytes(socket.got) == b"".join(b"".join(pieces) for pieces in sent)
    outflow.send([b"the lock is free"], False)
    assert socket.got.endswith(b"the lock is free")


def test_outflow_keeps_a_message_whole_when_its_thread_comes_back_in_the_middle() -> None:
    """A `__del__` or a handler that answers meanwhile is sent behind, and nobody waits."""
    socket = Socket([10])
    outflow = _outflow(socket)
    again = iter([True])

    def come_back() -> None:
        if next(again, False):
            outflow.send([b"from the handler"], False)

    socket.before = come_back
    outflow.send([b"the message that was under way"], False)
    socket.takes = None
    outflow.flush()
    assert bytes(socket.got) == b"the message that was under way" + b"from the handler"


def test_outflow_copies_what_is_left_with_another_thread() -> None:
    """The user's memory may change as soon as `send` returns."""
    socket = Socket([5])
    outflow = _outflow(socket)
    streaming, go = threading.Event(), threading.Event()

    def wait_writable(seconds: float) -> bool:
        streaming.set()
        assert go.wait(30)
        return False

    socket.wait_writable = wait_writable  # type: ignore[method-assign]
    first = threading.Thread(
        target=outflow.send, args=([b"head", memoryview(b"0123456789")], False)
    )
    first.start()
    assert streaming.wait(30)
    memory = bytearray(b"before")
    outflow.send([b"head", memoryview(memory)], False)
    memory[:] = b"after!"
    go.set()
    first.join(30)
    socket.takes = None
    outflow.flush()
    assert bytes(socket.got) == b"head0123456789" + b"headbefore"


def test_outflow_stays_with_a_reader_no_longer_than_a_copy_takes() -> None:
    """10 MB/s is far slower than memory: the rest is copied, and the thread goes on."""
    socket = Socket([100_000] * 1000)
    socket.writable = True
    socket.before = lambda: time.sleep(0.001)
    outflow = _outflow(socket)
    outflow.send([b"head", memoryview(bytes(20_000_000))], False)
    assert len(socket.got) < 10_000_000  # all of it would take the reader a second
    assert outflow.waiting


def test_outflow_streams_to_a_reader_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied then."""
    monkeypatch.setattr(outflow_module, "PATIENCE", 30.0)
    socket = Socket([100_000] * 1000)
    socket.writable = True
    outflow = _outflow(socket)
    outflow.send([b"head", memoryview(bytes(20_000_000))], False)
    assert not outflow.waiting
    assert len(socket.got) == 20_000_004


def test_outflow_is_lost_when_there_is_no_room_for_what_is_unread() -> None:
    """What others may have isn't taken by who reads nothing; it is all given back."""
    budget = Budget(100_000)
    outflow = _outflow(Socket([0]), budget)
    outflow.send([bytes(60_000)], False)
    assert outflow.lost is None
    outflow.send([bytes(60_000)], False)
    assert isinstance(outflow.lost, MemoryError)
    assert budget.unsent == 0
    outflow.send([b"dropped"], False)
    assert not outflow.waiting


def test_outflow_is_clogged_sooner_when_others_use_the_memory() -> None:
    """Its share is smaller then; it is unclogged when it has been read."""
    budget = Budget(1_000_000)
    budget.queued = 900_000
    socket = Socket([0])
    outflow = _outflow(socket, budget)
    outflow.send([bytes(90_000)], False)
    assert outflow.unread.clogged
    socket.takes = None
    outflow.flush()
    assert not outflow.unread.clogged
    assert budget.unsent == 0


def test_outflow_gives_its_memory_back_when_it_is_closed() -> None:
    """And takes no more."""
    budget = Budget(1_000_000)
    outflow = _outflow(Socket([0]), budget)
    outflow.send([bytes(1000)], False)
    assert budget.unsent > 1000
    assert outflow.close()
    outflow.send([bytes(1000)], False)
    assert (budget.unsent, outflow.waiting) == (0, False)


def test_outflow_stays_with_a_reader_that_takes_as_much_as_a_copy_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it has taken buys it time: 20 MB at 1 GB/s take ten times the patience."""
    clock = iter(range(10**6))
    monkeypatch.setattr(outflow_module, "monotonic", lambda: next(clock) * 1e-4)
    socket = Socket([100_000] * 1000)
    socket.writable = True
    outflow = _outflow(socket)
    outflow.send([b"head", memoryview(bytes(20_000_000))], False)
    assert not outflow.waiting
    assert len(socket.got) == 20_000_004


def test_outflow_gives_the_descriptor_back_when_it_was_closed_and_then_struck() -> None:
    """Whoever is at work closes the socket, also where an exception ends its work."""
    socket = Socket([5])
    outflow = _outflow(socket)

    def wait_writable(seconds: float) -> bool:
        assert not outflow.close()
        raise Strike

    socket.wait_writable = wait_writable  # type: ignore[method-assign]
    with pytest.raises(Strike):
        outflow.send([b"head", memoryview(b"0123456789")], False)
    assert socket.closed
    assert not outflow.waiting
