"""What goes on no more is noticed; what goes on, however slowly, is left alone."""

from __future__ import annotations

import threading

from bgpy.serving.sessions.stall import Stall
from tests.support.loop import LONG, Loop


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
    stall = Stall(loop.reactor, LONG, lambda: values.pop(0), lambda: told.append(True))
    loop.on_poller(stall.watch)  # nothing to look at
    loop.on_poller(stall.watch)
    loop.on_poller(stall.look)  # it is over
    assert (values, told) == ([], [])
