"""Who polls the sockets: the state of the moving role, one critical section a method.

The task thread polls while it has nothing to run, and runs what it received with no
hand-over between threads. While a task keeps it, a standby thread takes the role.

::

    task thread                              standby
    polling.acquire ─ poll ─ release ─ job    bell ─ look, each TICK
      └ taken: ask, wake, wait ◄──────────────────── yield_role ◄ poll until asked

`polling` is held by whoever polls. The task thread takes it, and lets go of it, without
another lock: it does so at each call. `ask`, `arm`, `look` and `yield_role` are called
under one lock, the others are single steps. Nothing here blocks, so that a model of the
two threads can be walked through all its states (tests/serving/role_model.py).

Who arms the standby, and how it falls asleep: the task thread says that it runs
something before it looks whether the standby is armed; the standby says that it is not
armed any more before it looks, a last time, whether something runs. So one of the two
sees the other.

Invariants: one poller at a time; while a task runs, somebody can reach the poll; a
waiting thread gets the role back; nobody is woken while nothing is called for.
"""

from __future__ import annotations

import threading
from enum import Enum, auto

POLL_AGAIN = 0.002
"""Seconds after which a task thread with a row of jobs polls between two of them."""

TAKE_OVER = 0.005
"""The standby's tick, in seconds: it takes the role if nobody polled from one to the next."""

QUIET_TICKS = 10
"""Ticks without a new call after which the standby goes back to sleep."""


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
        self.polling = threading.Lock()
        """Held by whoever polls."""
        self.standby = False
        """It is the standby that holds it."""
        self.asked = False
        """The task thread wants the role back and waits for it."""
        self.running = False
        """The task thread has jobs; set by the task thread."""
        self.armed = False
        """The standby ticks, and so notices what runs too long."""
        self.calls = 0
        """Polls that gave the task thread something to run; counted by the task thread."""
        self._calls_seen = 0
        self._quiet_ticks = 0

    def ask(self, has_jobs: bool) -> bool:
        """`polling` was taken: True if it is the task thread's; else that wakes the poller, and
        waits."""
        self.running = has_jobs
        # Its own where an exception of a signal handler kept it from letting go.
        if not self.standby:
            self.polling.acquire(False)
            return True
        self.asked = True
        return False

    def arm(self) -> bool:
        """Arm the standby; True if its bell must be rung now."""
        ring = not self.armed
        self.armed = True
        return ring

    def look(self) -> Look:
        """The standby's tick: the role is its own if nobody has polled since the last one."""
        if self.running:
            self._quiet_ticks = 0
            overdue = self.calls == self._calls_seen
            self._calls_seen = self.calls
            if overdue and self.polling.acquire(False):
                self.standby = True
                return Look.POLL
            return Look.TICK
        if self.calls != self._calls_seen:
            self._calls_seen = self.calls
            self._quiet_ticks = 0
            return Look.TICK
        self._quiet_ticks += 1
        if self._quiet_ticks < QUIET_TICKS:
            return Look.TICK
        self._quiet_ticks = 0
        return Look.SLEEP

    def disarm(self) -> None:
        """`look` said that the standby may sleep: it does, if `is_quiet` still."""
        self.armed = False

    def is_quiet(self) -> bool:
        """Whether nothing was called for since the last look."""
        return not self.running and self.calls == self._calls_seen

    def yield_role(self) -> bool:
        """The standby gives the role up: True if it must release the waiting task thread."""
        self.standby = False
        self.polling.release()
        asked = self.asked
        self.asked = False
        return asked
