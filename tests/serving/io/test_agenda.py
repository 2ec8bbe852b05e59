"""What is made before a poll: all that was left, in order, once, whatever fails or strikes."""

from __future__ import annotations

import logging
import sys
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.serving.io import agenda as agenda_module
from bgpy.serving.io.agenda import Agenda


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in the last place."""
    times = [100.0]
    monkeypatch.setattr(agenda_module, "monotonic", lambda: times[-1])
    return times


def test_changes_are_made_in_order_and_those_that_come_meanwhile_after_the_poll() -> None:
    """Which is not waited for then."""
    agenda, made = Agenda(), list[int]()

    def first() -> None:
        made.append(1)
        agenda.leave(partial(made.append, 3))

    agenda.leave(first)
    agenda.leave(partial(made.append, 2))
    assert agenda.do(5.0) == 0.0
    assert made == [1, 2]
    assert agenda.do(5.0) == 5.0
    assert made == [1, 2, 3]
    assert agenda.do(None) is None


def test_change_is_made_again_where_it_was_struck() -> None:
    """By what is no error: an exception of a signal handler's, say."""
    agenda, made = Agenda(), list[int]()
    strikes = [KeyboardInterrupt()]

    def change() -> None:
        if strikes:
            raise strikes.pop()
        made.append(1)

    agenda.leave(change)
    agenda.leave(partial(made.append, 2))
    with pytest.raises(KeyboardInterrupt):
        agenda.do(None)
    assert agenda.do(None) is None
    assert made == [1, 2]


def test_what_fails_is_logged_and_keeps_nothing(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the change behind it nor the deadline."""
    agenda, made = Agenda(), list[str]()

    def fails() -> None:
        raise ValueError("a change that fails")

    agenda.leave(fails)
    agenda.after(1.0, fails)
    agenda.after(2.0, partial(made.append, "deadline"))
    agenda.leave(partial(made.append, "change"))
    clock.append(105.0)
    with caplog.at_level(logging.ERROR, "bgpy.server"):
        assert agenda.do(None) is None
    assert made == ["change", "deadline"]
    assert [record.exc_text and "fails" in record.exc_text for record in caplog.records] == [
        True
    ] * 2


@given(
    st.lists(st.tuples(st.floats(0.0, 10.0), st.booleans()), max_size=12),
    st.lists(st.floats(0.0, 12.0), min_size=1, max_size=6),
)
def test_deadlines_expire_once_in_the_order_of_their_times_unless_cancelled(
    wanted: list[tuple[float, bool]], looks: list[float]
) -> None:
    """And the time to poll is that until the next one, or what was given if that is less."""
    now = [100.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agenda_module, "monotonic", lambda: now[0])
        agenda, expired = Agenda(), list[int]()
        made = [
            agenda.after(seconds, partial(expired.append, number))
            for number, (seconds, _) in enumerate(wanted)
        ]
        for deadline, (_, cancelled) in zip(made, wanted, strict=True):
            if cancelled:
                deadline.cancel()
        left = [(100.0 + seconds, number) for number, (seconds, no) in enumerate(wanted) if not no]
        for look in sorted(looks):
            now[0] = 100.0 + look
            timeout = agenda.do(7.0)
            due = sorted(each for each in left if each[0] <= now[0])
            ahead = [at - now[0] for at, _ in left if at > now[0]]
            assert expired == [number for _, number in due]
            assert timeout == pytest.approx(min([7.0, *ahead]))


def test_deadline_that_makes_another_one_meets_it_in_the_same_look(clock: list[float]) -> None:
    """If its time is over too."""
    agenda, expired = Agenda(), list[str]()

    def again() -> None:
        expired.append("first")
        agenda.after(0.0, partial(expired.append, "second"))

    agenda.after(1.0, again)
    clock.append(102.0)
    assert agenda.do(None) is None
    assert expired == ["first", "second"]
    assert not agenda.deadlines


def test_changes_are_left_by_any_thread_while_others_are_made() -> None:
    """None is lost, none comes twice, each thread's come in its order."""
    agenda, made = Agenda(), list[tuple[int, int]]()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def leave(thread: int) -> None:
            for number in range(500):
                agenda.leave(partial(made.append, (thread, number)))

        threads = [threading.Thread(target=leave, args=(number,)) for number in range(4)]
        for each in threads:
            each.start()
        while any(each.is_alive() for each in threads) or agenda.changes:
            agenda.do(0.0)
    finally:
        sys.setswitchinterval(before)
        for each in threads:
            each.join()
    for thread in range(4):
        assert [number for who, number in made if who == thread] == list(range(500))
