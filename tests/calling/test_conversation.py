"""The correlation core: which answer belongs to which call."""

from __future__ import annotations

import threading

from bgpy.calling.conversation import Answer, Calls
from bgpy.errors import ServerGone
from bgpy.wire.messages import Pong


def test_take_gives_each_call_once() -> None:
    """An answer has one taker; a second one to the same request has none."""
    calls = Calls()
    pending = calls.begin(1)
    assert calls.pending
    assert calls.take(pending.request) is pending
    assert calls.take(pending.request) is None
    assert not calls.pending


def test_take_gives_none_when_the_call_was_abandoned() -> None:
    """A late answer is dropped."""
    calls = Calls()
    pending = calls.begin(1)
    calls.abandon(pending)
    assert calls.take(pending.request) is None


def test_fail_answers_all_that_is_under_way() -> None:
    """Every call ends in the error, those that nobody waits for included."""
    heard: list[Answer] = []
    calls = Calls()
    waited, future = calls.begin(1), calls.begin(2, heard.append)
    gone = ServerGone("gone")
    assert calls.fail(gone) == {1: waited, 2: future}
    assert waited.answer is gone
    assert not calls.pending
    assert future.done is not None
    future.done(Pong(2))
    assert heard == [Pong(2)]


def test_sleeper_is_one_whose_thread_sleeps() -> None:
    """Only a call with a gate can be woken to read for the others."""
    calls = Calls()
    calls.begin(1)
    assert calls.sleeper() is None
    asleep = calls.begin(2)
    asleep.gate = threading.Lock()
    assert calls.sleeper() is asleep
