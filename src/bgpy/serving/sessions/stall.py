"""Detects a transfer that has stalled, without reading the clock each time it proceeds.

An exception of a signal handler's may strike between setting a timer and noting that it is
set. So timers are numbered, and an older one than the last does nothing: `watch` may be
called again, and neither forgets to look nor looks too early.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bgpy.serving.io.reactor import Reactor


class Stall:
    """Checks at intervals whether a count has changed; on the thread that polls."""

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
        self._looking = False
        self._timer = 0
        self._before = 0

    def watch(self) -> None:
        """Begin to look, unless that has begun."""
        if not self._looking:
            count = self._progress()
            if count is not None:
                self._before = count
                self._timer += 1
                self._reactor.after(self._seconds, partial(self._look, self._timer))
                self._looking = True

    def _look(self, timer: int) -> None:
        """Look whether something has happened since `timer` was set."""
        if timer != self._timer:
            return
        self._looking = False
        before, count = self._before, self._progress()
        if count is not None and count == before:
            self._stalled()
        else:
            self.watch()
