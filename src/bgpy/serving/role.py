"""Who polls the sockets: the state of the moving role, one critical section a method.

The task thread polls while it has nothing to run, and runs what it received with no
hand-over between threads. While a task keeps it, a standby thread takes the role.

::

    task thread                              standby
    enter ─ free: poll ─ leave ─ run a job   bell ─ look, each TICK
      └ taken: ask, wake, wait ◄──────────────────── yield_role ◄ poll until asked

The two threads call these methods under one lock; nothing here blocks, so that a
model of the two can be walked through all its states (tests/serving/test_role.py).

Invariants: one poller at a time; while a task runs, somebody can reach the poll; a
waiting thread gets the role back; nobody is woken while nothing is called for.
"""

from __future__ import annotations

from enum import Enum, auto

POLL_AGAIN = 0.002
"""Seconds after which a task thread with a row of jobs polls between two of them."""

TAKE_OVER = 0.005
"""Seconds without a poll after which the standby takes the role; also its tick."""

QUIET_TICKS = 10
"""Ticks without a new call after which the standby goes back to sleep."""


class Holder(Enum):
    """Which thread polls."""

    NOBODY = auto()
    TASK = auto()
    STANDBY = auto()


# Taking a member from its class is slow, and these are taken at each poll.
_NOBODY, _TASK, _STANDBY = Holder


class Look(Enum):
    """What the standby does next."""

    SLEEP = auto()
    """Nothing is called for: wait for the bell."""
    TICK = auto()
    """Look again in `TAKE_OVER` seconds."""
    POLL = auto()
    """The role is yours: poll until `asked`, then `yield_role`."""


class PollingRole:
    """The role and who wants it."""

    def __init__(self) -> None:
        self.holder = _NOBODY
        self.asked = False
        """The task thread wants the role back and waits for it."""
        self._running = False
        self._armed = False
        self._calls = 0
        self._calls_seen = 0
        self._quiet_ticks = 0

    def enter(self, has_jobs: bool) -> bool:
        """The task thread wants to poll: True if it may; else it wakes the poller and waits."""
        self._running = has_jobs
        # Its own where an exception of a signal handler kept it from leaving.
        if self.holder is not _STANDBY:
            self.holder = _TASK
            return True
        self.asked = True
        return False

    def leave(self, has_jobs: bool) -> bool:
        """The task thread has polled: True if it must ring the standby's bell now."""
        self.holder = _NOBODY
        if not has_jobs:
            return False
        self._calls += 1
        self._running = True
        ring = not self._armed
        self._armed = True
        return ring

    def look(self, overdue: bool) -> Look:
        """The standby's tick; `overdue`: nobody has polled for `TAKE_OVER` seconds."""
        if self._running:
            self._quiet_ticks = 0
            self._calls_seen = self._calls
            if overdue and self.holder is _NOBODY:
                self.holder = _STANDBY
                return Look.POLL
            return Look.TICK
        if self._calls != self._calls_seen:
            self._calls_seen = self._calls
            self._quiet_ticks = 0
            return Look.TICK
        self._quiet_ticks += 1
        if self._quiet_ticks < QUIET_TICKS:
            return Look.TICK
        self._quiet_ticks = 0
        self._armed = False
        return Look.SLEEP

    def yield_role(self) -> bool:
        """The standby gives the role up: True if it must release the waiting task thread."""
        self.holder = _NOBODY
        asked = self.asked
        self.asked = False
        return asked
