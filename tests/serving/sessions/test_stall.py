"""What goes on no more is noticed; what goes on, however slowly, is left alone."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import cast

import pytest

from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.reactor import Reactor
from bgpy.serving.sessions.stall import Stall
from tests.support.loop import LONG, Loop
from tests.support.strikes import Struck


def test_stall_is_told_when_nothing_happens(loop: Loop) -> None:
    """After the time, once."""
    told = threading.Event()
    stall = Stall(loop.reactor, 0.01, lambda: 3, told.set)
    loop.on_poller(stall.watch)
    assert told.wait(LONG)


def test_stall_is_not_told_while_something_happens(loop: Loop) -> None:
    """Each look finds another count; when it stays the same, that is told."""
    counts = iter([0, 1, 1, 2, 2, 3, 3])
    told: list[int] = []
    seen: list[int] = []
    done = threading.Event()

    def progress() -> int:
        seen.append(next(counts, 3))
        return seen[-1]

    stall = Stall(loop.reactor, 0.01, progress, lambda: (told.append(seen[-1]), done.set()))
    loop.on_poller(stall.watch)
    assert done.wait(LONG)
    assert told == [3]


def test_stall_looks_no_more_when_it_is_over(loop: Loop) -> None:
    """And begins anew when there is something to look at again."""
    values: list[int | None] = [None, 1, None, None]
    told: list[bool] = []
    timers = Timers()
    stall = Stall(cast(Reactor, timers), LONG, lambda: values.pop(0), lambda: told.append(True))
    stall.watch()  # nothing to look at
    assert not timers.set
    stall.watch()
    timers.set.pop()()  # it is over
    assert (values, told, timers.set) == ([], [], [])


class Timers:
    """A reactor's, which expire by hand; those whose setting is struck stay set."""

    def __init__(self) -> None:
        self.set: list[Callable[[], None]] = []
        self.deadlines: list[Deadline] = []
        self.strikes = False

    def after(self, seconds: float, expired: Callable[[], None]) -> Deadline:
        self.set.append(expired)
        self.deadlines.append(Deadline(expired))
        if self.strikes:
            raise Struck
        return self.deadlines[-1]


def test_stall_looks_in_its_time_when_an_exception_has_struck_it() -> None:
    """The timer that was set before counts no more: what proceeds is not taken for stalled."""
    told: list[bool] = []
    timers = Timers()
    stall = Stall(cast(Reactor, timers), LONG, lambda: 3, lambda: told.append(True))
    timers.strikes = True
    with pytest.raises(Struck):
        stall.watch()
    timers.strikes = False
    stall.watch()
    first, second = timers.set
    first()
    assert not told
    second()
    assert told


def test_stall_has_one_timer_however_often_it_begins_to_look() -> None:
    """Also where there was nothing to look at meanwhile: the timer that is set looks."""
    counts: list[int | None] = [1]
    timers = Timers()
    stall = Stall(cast(Reactor, timers), LONG, lambda: counts[-1], lambda: None)
    for count in (None, 2, None, 3):
        stall.watch()
        counts.append(count)
    assert len(timers.set) == 1
    timers.set[0]()
    assert len(timers.set) == 2


class Watched:
    """What a stall looks after."""

    def progress(self) -> int:
        return 3

    def stalled(self) -> None:
        raise AssertionError("it has been closed")


@pytest.mark.parametrize("strikes", [False, True])
def test_stall_lets_go_when_it_is_closed(strikes: bool) -> None:
    """What it looked after isn't kept by a timer, nor by one that nobody knows of any more."""
    timers, watched = Timers(), Watched()
    gone = weakref.ref(watched)
    stall = Stall(cast(Reactor, timers), LONG, watched.progress, watched.stalled)
    if strikes:
        timers.strikes = True
        with pytest.raises(Struck):
            stall.watch()
        timers.strikes = False
    stall.watch()
    del watched
    stall.close()
    assert gone() is None
    assert timers.deadlines[-1].expired is None
    for expired in timers.set:
        expired()
