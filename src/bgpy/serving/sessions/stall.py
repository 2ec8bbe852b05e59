"""Detects a transfer that has stalled, without reading the clock each time it proceeds.

An exception of a signal handler's may strike between setting a timer and noting that it is
set. So timers are numbered, and an older one than the last does nothing: `watch` may be
called again, and neither forgets to look nor looks too early. Whatever timers are left, once it
is closed none keeps alive what was looked after.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.reactor import Reactor


class Stall:
    """Checks at intervals whether a count has changed; on the thread that polls.

    One has one timer at a time.
    """

    __slots__ = ("_before", "_deadline", "_number", "_progress", "_reactor", "_seconds", "_stalled")

    def __init__(
        self,
        reactor: Reactor,
        seconds: float,
        progress: Callable[[], int | None],
        stalled: Callable[[], None],
    ) -> None:
        """`stalled` is called once `progress` gives the same for `seconds`; None ends the looks."""
        self._reactor = reactor
        self._seconds = seconds
        self._progress = progress
        self._stalled = stalled
        self._deadline: Deadline | None = None  # while it looks
        self._number = 0  # of the timer that was set last
        self._before = 0

    def watch(self) -> None:
        """Begin to look, unless that has begun."""
        if self._deadline is None:
            count = self._progress()
            if count is not None:
                self._before = count
                self._number += 1
                look = partial(self._look, self._number)
                self._deadline = self._reactor.after(self._seconds, look)

    def close(self) -> None:
        """Look no more, and let go of what was looked after."""
        self._progress, self._stalled = _over, _nobody
        if self._deadline is not None:
            self._deadline.cancel()

    def _look(self, number: int) -> None:
        """Look whether something has happened since timer `number` was set."""
        if number != self._number:
            return
        self._deadline = None
        before, count = self._before, self._progress()
        if count is not None and count == before:
            self._stalled()
        else:
            self.watch()


def _over() -> None:
    """The `progress` of what has closed."""


def _nobody() -> None:
    """Its `stalled`."""
