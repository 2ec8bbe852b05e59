"""What a thread that polls does before it polls: changes that others left, and deadlines.

For the holder of the polling role; only `leave` is called by other threads.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from time import monotonic

log = logging.getLogger("bgpy.server")


class Deadline:
    """Something that happens when its time comes, unless it is cancelled before."""

    __slots__ = ("expired",)

    def __init__(self, expired: Callable[[], None]) -> None:
        self.expired: Callable[[], None] | None = expired

    def cancel(self) -> None:
        """Call nothing when the time comes."""
        self.expired = None


class Agenda:
    """Changes to make, and deadlines in the order of their times."""

    def __init__(self) -> None:
        self.changes: deque[Callable[[], None]] = deque()
        """In the order they were left."""
        self.leave = self.changes.append
        """Have a change made before the next poll; from any thread."""
        # A heap, of what is compared in C: an exception in the middle would tear it.
        self.deadlines: list[tuple[float, int, Deadline]] = []
        """What is to happen, the first one first; those that were cancelled too."""
        self._made = 0  # deadlines, ever

    def after(self, seconds: float, expired: Callable[[], None]) -> Deadline:
        """Call `expired` when `seconds` are over."""
        deadline = Deadline(expired)
        self._made += 1
        heappush(self.deadlines, (monotonic() + seconds, self._made, deadline))
        return deadline

    def do(self, timeout: float | None) -> float | None:
        """Make the changes that were left, and serve deadlines; gives the seconds to poll then.

        A change is taken out when it was made, so that one which an exception of a signal
        handler's has struck is made again. Those that come meanwhile wait until after the
        poll: one that leaves its next part as another change doesn't keep the sockets.
        """
        changes = self.changes
        for _ in range(len(changes)):
            attempt(changes[0])
            changes.popleft()
        if self.deadlines:
            timeout = self._expire(timeout)
        return 0.0 if changes else timeout

    def _expire(self, timeout: float | None) -> float | None:
        """Serve the deadlines that are over; the time to poll until the next one."""
        while self.deadlines:
            at, _, deadline = self.deadlines[0]
            if deadline.expired is not None:
                left = at - monotonic()
                if left > 0:
                    return left if timeout is None else min(timeout, left)
                attempt(deadline.expired)
                deadline.expired = None
            # Whatever came into the heap meanwhile, this one is the first: its time is over.
            heappop(self.deadlines)
        return timeout


def attempt(action: Callable[[], None]) -> None:
    """Call `action`; its failure must not take the thread that polls with it."""
    try:
        action()
    except Exception:
        log.exception("the reactor failed in a change, a deadline or a chore")
