"""The correlation core: which answer belongs to which call."""

from __future__ import annotations

import threading

from bgpy.calling.calls import Answer, Calls
from bgpy.errors import ServerGone
from bgpy.wire.messages import Pong


def test_begin_counts_up_from_the_first_request() -> None:
    """Ids count up within a client, over its connections."""
    calls = Calls(first_request=7)
    assert [calls.begin().request for _ in range(3)] == [7, 8, 9]
    assert calls.next_request == 10


def test_take_gives_each_call_once() -> None:
    """An answer has one taker; a second one to the same request has none."""
    calls = Calls()
    pending = calls.begin()
    assert calls.under_way
    assert calls.take(pending.request) is pending
    assert calls.take(pending.request) is None
    assert not calls.under_way


def test_take_gives_none_when_the_call_was_abandoned() -> None:
    """A late answer is dropped."""
    calls = Calls()
    pending = calls.begin()
    calls.abandon(pending)
    assert calls.take(pending.request) is None


def test_fail_answers_all_that_is_under_way() -> None:
    """Every call ends in the error, those that nobody waits for included."""
    heard: list[Answer] = []
    calls = Calls()
    waited, future = calls.begin(), calls.begin(heard.append)
    gone = ServerGone("gone")
    assert calls.fail(gone) == [waited, future]
    assert waited.answer is gone
    assert not calls.under_way
    assert future.done is not None
    future.done(Pong(2))
    assert heard == [Pong(2)]


def test_sleeper_is_one_whose_thread_sleeps() -> None:
    """Only a call with a gate can be woken to read for the others."""
    calls = Calls()
    calls.begin()
    assert calls.sleeper() is None
    asleep = calls.begin()
    asleep.gate = threading.Lock()
    assert calls.sleeper() is asleep
