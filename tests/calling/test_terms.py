"""Which way a call goes, and whether it may be sent: the whole tables."""

from __future__ import annotations

from itertools import product

import pytest

from bgpy.calling.terms import (
    Terms,
    Verdict,
    Way,
    calls_itself,
    waits_for_itself,
    way,
    way_of_future,
)


@pytest.mark.parametrize("notice", [True, False])
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("generation", [0, 1, 2])
def test_restart_is_told_first_and_a_task_never_waits_for_its_own_server(
    notice: bool, waits: bool, is_own: bool, generation: int
) -> None:
    """A restart that came after the call began, to who has to know of it."""
    terms = Terms(None, None, began=1, waits=waits, notice=notice)
    expected = Verdict.GO
    if waits and is_own:
        expected = Verdict.OWN_SERVER
    if notice and generation == 2:
        expected = Verdict.RESTARTED
    assert terms.verdict(generation, is_own) is expected


def test_call_goes_apart_where_its_thread_may_wait_for_nothing() -> None:
    """In the midst of another one, and when the program ends."""
    ways = {(ends, inside): way(ends, inside) for ends, inside in product((True, False), repeat=2)}
    assert {each for each, found in ways.items() if found is Way.SHARED} == {(False, False)}
    assert Way.QUEUED not in ways.values()


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("ends", [True, False])
def test_future_is_queued_by_a_handler_if_there_are_threads(
    ends: bool, inside: bool, tells: bool, sends: bool
) -> None:
    """Where there is none to call back it goes alone, and in a handler without one to send."""
    found = way_of_future(ends, inside, tells, sends)
    if ends or not tells or (inside and not sends):
        assert found is Way.APART
    else:
        assert found is (Way.QUEUED if inside else Way.SHARED)


def test_errors_say_what_to_do_and_whether_the_call_is_on_its_way() -> None:
    """A future's call is; a call that was refused is not."""
    assert calls_itself().progress == "not started"
    assert "execute()" in str(calls_itself())
    assert waits_for_itself().progress == "unknown"
    assert "don't repeat it" in str(waits_for_itself())
