"""What goes on no more is noticed; what goes on, however slowly, is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest

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
        self.strikes = False

    def after(self, seconds: float, expired: Callable[[], None]) -> None:
        self.set.append(expired)
        if self.strikes:
            raise Struck


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
