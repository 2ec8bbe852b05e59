"""The client's thread in the background, and the deadlines that it keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from bgpy.calling.blocking import helper, threads
from bgpy.calling.blocking import sender as sender_module
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.sender import Sender, Timers
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.conversation import Call, timed_out
from tests.support.channels import PLACE, Far, far_end
from tests.support.peers import wait_until
from tests.support.timed import timed_call

LONG = 30.0


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Far]]:
    """A channel, and its other end."""
    with far_end() as both:
        yield both


def test_timers_give_what_is_due_in_order(ends: tuple[Channel, Far]) -> None:
    """And say when the next one is."""
    channel, _ = ends
    timers, calls = Timers(), [Call() for _ in range(3)]
    now = monotonic()
    assert timers.seconds() is None
    assert timers.add(now + 20, channel.link, calls[0])
    assert timers.add(now + 10, channel.link, calls[1])
    assert not timers.add(now + 30, channel.link, calls[2])
    seconds = timers.seconds()
    assert seconds is not None
    assert 0 < seconds <= 10
    assert timers.due(now) is None
    assert due(timers, now + 20) == [calls[1], calls[0]]
    assert due(timers, now + 40) == [calls[2]]


def test_timers_forget_calls_that_are_done_or_gone(ends: tuple[Channel, Far]) -> None:
    """They keep neither a call nor its connection."""
    channel, _ = ends
    timers, done, gone, last = Timers(), Call(), Call(), Call()
    now = monotonic()
    for call in (done, gone, last):
        timers.add(now + 10, channel.link, call)
    done.answer = timed_out(1.0, "unknown", PLACE)
    del gone, call
    assert due(timers, now + 10) == [last]
    assert timers.seconds() is None


def test_timers_forget_calls_that_are_done_behind_one_that_is_not(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that runs for long would have those of all calls since stay until it ends."""
    channel, _ = ends
    monkeypatch.setattr(sender_module, "LEAST_SWEPT", 8)
    timers, long, now = Timers(), Call(), monotonic()
    waiting = [Call() for _ in range(20)]
    timers.add(now + 1, channel.link, long)
    first = timers.due(now + 1)
    assert first is not None
    for call in waiting:
        timers.add(now + 5, channel.link, call)
    for _ in range(1000):
        done = Call()
        timers.add(now + 3, channel.link, done)
        done.answer = timed_out(1.0, "unknown", PLACE)
    assert len(timers._heap) <= 2 * 21 + 8
    long.answer = timed_out(1.0, "unknown", PLACE)
    timers.done(first)
    assert due(timers, now + 5) == waiting
    timers.done(first)


def test_timer_stays_until_it_was_seen_to(ends: tuple[Channel, Far]) -> None:
    """Also while an earlier one comes; of a call that was asked for only the later one counts."""
    channel, _ = ends
    timers, call, other = Timers(), Call(), Call()
    now = monotonic()
    timers.add(now + 10, channel.link, call)
    first = timers.due(now + 10)
    assert first is timers.due(now + 10)
    assert first is not None
    timers.add(now + 5, channel.link, other)
    call.asked = True
    timers.add(now + 20, channel.link, call, was_asked=True)
    timers.done(first)
    assert due(timers, now + 10) == [other]
    assert due(timers, now + 20) == [call]


def test_sender_that_fails_at_a_deadline_sees_to_it_again(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When memory was out, the call would else wait for ever."""
    channel, _ = ends
    call, work, fails = timed_call(0.01), Work(1), [True]

    def expire(call: Call) -> bool:
        if fails.pop():
            fails.append(False)
            raise MemoryError
        call.answer = timed_out(0.01, "unknown", PLACE)
        return False

    monkeypatch.setattr(channel.link, "expire_future", expire)
    monkeypatch.setattr(helper, "AGAIN", 0.01)
    sender = Sender(work, channel.link.shared)
    sender.timers.add(monotonic(), channel.link, call)
    assert sender.ring(work)
    wait_until(lambda: call.answer is not None, "its time is over")
    sender.rest()


def due(timers: Timers, now: float) -> list[Call | None]:
    """All that are due then, one after another."""
    found = []
    while (timer := timers.due(now)) is not None:
        found.append(timer.call())
        timers.done(timer)
    return found


class Work:
    """Has something to send as often as it is told to."""

    def __init__(self, times: int, fails: bool = False) -> None:
        self.left = times
        self.fails = fails
        self.done = threading.Event()

    def send_posted(self, seconds: float) -> bool:
        assert 0 <= seconds <= LONG
        self.left -= 1
        if not self.left:
            self.done.set()
        if self.fails:
            self.fails = False
            raise MemoryError
        return self.left > 0


@pytest.mark.parametrize("fails", [False, True])
def test_sender_sends_until_nothing_is_left(fails: bool) -> None:
    """Also after it failed, and anew when it is rung again."""
    work = Work(3, fails)
    sender = Sender(work, Shared(PLACE))
    assert sender.ring(work)
    assert work.done.wait(LONG)
    more = Work(1)
    assert sender.ring(more)
    assert more.done.wait(LONG)
    sender.rest()
    wait_until(lambda: not sender.is_running, "the client was closed: its thread ends")
    again = Work(1)
    assert sender.ring(again)
    assert again.done.wait(LONG)
    sender.rest()


@pytest.mark.parametrize("times", [1, 2])
def test_sender_ends_when_its_client_is_closed_while_it_sends(times: int) -> None:
    """It doesn't go round and round for a ring that it leaves where it is."""

    class Closes(Work):
        def send_posted(self, seconds: float) -> bool:
            for _ in range(times):
                sender.rest()
            return super().send_posted(seconds)

    work = Closes(1)
    sender = Sender(work, Shared(PLACE))
    assert sender.ring(work)
    wait_until(lambda: not sender.is_running, "its thread ends")
    assert work.left == 0


def test_sender_that_can_not_be_started_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client does without."""
    work = Work(1)
    sender = Sender(work, Shared(PLACE))
    monkeypatch.setattr(threads, "start", lambda *_: False)
    assert not sender.ring(work)
    assert not sender._to_do
    sender.rest()


def test_sender_asks_for_a_call_whose_time_is_over_and_gives_it_up(
    ends: tuple[Channel, Far],
) -> None:
    """A moment later, where the server doesn't say how far it came."""
    channel, far = ends
    work, call = Work(1), timed_call(0.01)
    sender = Sender(work, channel.link.shared)
    channel.conversation.begin(call, 1)
    call.begun = call.left = True
    with channel._lock:
        assert sender.timers.add(monotonic() + 0.01, channel.link, call)
    assert sender.ring(work)
    assert work.done.wait(LONG)
    assert far.read().target == 1  # type: ignore[attr-defined]
    wait_until(lambda: call.answer is not None, "the call is given up")
    assert getattr(call.answer, "progress", None) == "unknown"
    sender.rest()


def test_call_that_was_asked_for_is_given_up_also_where_asking_failed(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would look at it again."""
    channel, _ = ends
    work, call = Work(1), timed_call(0.01)

    def withdraw(call: Call) -> bool:
        call.asked = True
        raise MemoryError

    monkeypatch.setattr(channel.link, "withdraw", withdraw)
    monkeypatch.setattr(helper, "AGAIN", 0.01)
    sender = Sender(work, channel.link.shared)
    channel.conversation.begin(call, 1)
    call.begun = call.left = True
    sender.timers.add(monotonic(), channel.link, call)
    assert sender.ring(work)
    wait_until(lambda: call.answer is not None, "the call is given up")
    assert getattr(call.answer, "progress", None) == "unknown"
    sender.rest()


def test_future_whose_time_is_over_as_its_client_closes_ends_without_a_word(
    ends: tuple[Channel, Far], caplog: pytest.LogCaptureFixture
) -> None:
    """Behind a goodbye no question leaves; an answer that comes all the same would be taken."""
    channel, _ = ends
    work, call = Work(1), timed_call(0.01)
    sender = Sender(work, channel.link.shared)
    channel.conversation.begin(call, 1)
    call.begun = call.left = True
    assert channel.say_goodbye("the client closes", monotonic() + LONG)
    sender.timers.add(monotonic(), channel.link, call)
    assert sender.ring(work)
    wait_until(lambda: call.answer is not None, "the call is given up")
    assert getattr(call.answer, "progress", None) == "unknown"
    assert not channel.has_ended, "what comes for others is still read"
    assert not caplog.records
    sender.rest()


def test_sender_counts_as_inside_and_looks_at_the_deadlines_with_the_lock_held() -> None:
    """So a ``__del__`` that the collector runs there waits for nothing of its client's; and what
    is due is seen to once, with no lock held."""
    shared = Shared(PLACE)
    looks: list[bool] = []
    acts: list[tuple[str, bool, bool]] = []

    def act(what: str) -> None:
        acts.append((what, shared.here.inside.locked(), shared.lock.locked()))
        assert len(acts) < 4, "it is due again and again"

    class Looking(Timers):
        def add(self, *args: Any, **also: Any) -> bool:
            looks.append(shared.lock.locked())
            return super().add(*args, **also)

        def seconds(self) -> float | None:
            looks.append(shared.lock.locked())
            return super().seconds()

        def done(self, timer: Any) -> None:
            looks.append(shared.lock.locked())
            super().done(timer)

    class Acting(Work):
        def expire_future(self, call: Call) -> None:
            act("expires")

        def send_posted(self, seconds: float) -> bool:
            act("sends")
            return super().send_posted(seconds)

    work, call = Acting(1), timed_call(0.01)
    sender = Sender(work, shared)
    sender.timers = Looking()
    with shared.lock:
        sender.timers.add(monotonic() - 1.0, work, call)  # type: ignore[arg-type]
    assert sender.tend() is None
    sender.do(work)
    assert acts == [("expires", True, False), ("sends", True, False)]
    assert len(looks) > 4
    assert all(looks)
