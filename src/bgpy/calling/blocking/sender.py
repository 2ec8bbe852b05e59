"""A client's thread in the background: it connects, sends what stayed behind, and keeps the time.

It is rung by `submitting` for calls that could not leave at once, and by a channel for what a
thread has begun to send and waits for no longer.
"""

from __future__ import annotations

import heapq
import weakref
from time import monotonic
from typing import NamedTuple, Protocol

from bgpy.calling.blocking.helper import Helper
from bgpy.calling.blocking.link import ASK, Link
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Call
from bgpy.system.deadlines import seconds_left

LEAST_SWEPT = 1024
"""Deadlines that are kept before it is looked which of them are over already."""


class Work(Protocol):
    """What the sender does it for: a client."""

    def send_posted(self, seconds: float) -> bool:
        """Send what can leave within `seconds`; whether something is left."""


class Timer(NamedTuple):
    """When something is to be done for a call: it is asked for, or given up if it `was_asked`."""

    deadline: float
    number: int
    link: weakref.ref[Link]
    call: weakref.ref[Call]
    was_asked: bool

    def finds(self) -> tuple[Link, Call] | None:
        """Whom it is for; None if that is over."""
        link, call = self.link(), self.call()
        if link is None or call is None or call.answer is not None:
            return None
        return (link, call) if call.asked is self.was_asked else None


class Timers:
    """The deadlines of futures. They keep nothing alive: what is under way is its connection's.

    All is called with the client's lock held.
    """

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._count = 0
        self._most = LEAST_SWEPT

    def add(self, deadline: float, link: Link, call: Call, was_asked: bool = False) -> bool:
        """Have `call` be `due` at `deadline`; whether that is the next of all."""
        self._count += 1
        timer = Timer(deadline, self._count, weakref.ref(link), weakref.ref(call), was_asked)
        if len(self._heap) >= self._most:
            self._sweep()
        heapq.heappush(self._heap, timer)
        return self._heap[0] is timer

    def seconds(self) -> float | None:
        """Seconds until the next deadline."""
        while self._heap and self._heap[0].finds() is None:
            heapq.heappop(self._heap)
        return seconds_left(self._heap[0].deadline) if self._heap else None

    def _sweep(self) -> None:
        """Forget those that are over, behind one that isn't: as many are added before the next."""
        left = [timer for timer in self._heap if timer.finds() is not None]
        heapq.heapify(left)
        self._heap, self._most = left, max(LEAST_SWEPT, 2 * len(left))

    def due(self, now: float) -> Timer | None:
        """The first whose time is over; it stays until `done` with it."""
        if self.seconds() is None or self._heap[0].deadline > now:
            return None
        return self._heap[0]

    def done(self, timer: Timer) -> None:
        """What was `due` has been seen to."""
        if self._heap and self._heap[0] is timer:  # else it is over, and forgotten
            heapq.heappop(self._heap)


class Sender(Helper[Work]):
    """A client's thread for that; it holds nothing of the client while there is nothing to do.

    It goes on, when the client is closed or collected, until the deadlines of its futures are
    over.
    """

    def __init__(self, owner: Work, shared: Shared) -> None:
        super().__init__(owner)
        self._shared = shared
        self.timers = Timers()

    def ring(self, what: Work) -> bool:
        """Have the thread call `send_posted`; False where it can't be started.

        May be called anywhere. One ring that it has not heard yet is enough: it looks after it
        has taken that out.
        """
        return self.start() if self._to_do else super().ring(what)

    def do(self, what: Work) -> None:
        """Send for a while, and have the rest sent after a look at the deadlines."""
        with self._shared.here.inside:
            with self._shared.lock:
                seconds = self.timers.seconds()
            left = what.send_posted(TICK if seconds is None else min(TICK, seconds))
        if left:
            self.post(what)

    def tend(self) -> float | None:
        """Futures whose time is over ask the server, and give up a moment later."""
        with self._shared.here.inside:
            while True:
                with self._shared.lock:
                    due = self.timers.due(monotonic())
                    if due is None:
                        return self.timers.seconds()
                if (found := due.finds()) is not None:
                    self._expire(*found)
                with self._shared.lock:
                    self.timers.done(due)

    def _expire(self, link: Link, call: Call) -> None:
        if call.asked:
            link.give_up_future(call)
            return
        with self._shared.lock:  # first: whatever fails then, a call that was asked for ends
            self.timers.add(monotonic() + ASK, link, call, was_asked=True)
        link.expire_future(call)
