"""Who polls the sockets: the state of the moving role, one critical section a method.

The task thread polls while it has nothing to run, and runs what it received with no
hand-over between threads. While a task keeps it, a standby thread takes the role.

::

    task thread                                   standby
    not running ─ with polling: poll ─ running     bell ─ look, each TICK
       └ standby polls: wake it, and wait ◄──────────── yield_role ◄ poll while it runs

The thread that polls holds `polling`. The task thread takes it by `with`, and no other lock:
it does so at each call, and once more before where it has to wait (`Reactor._ask_back`).
`arm`, `look` and `yield_role` are called under one lock, the others are single steps. Nothing
here blocks, so that a model of the two threads can be walked through all its states
(tests/support/role_model.py).

Who gets `polling` back: the task thread says that it runs nothing, then looks whether the
standby has it, and wakes it then; the standby says that it has it, then looks whether anything
runs, before each poll. So one of the two sees the other.

Who arms the standby, and how it falls asleep: the task thread says that it runs
something before it looks whether the standby is armed; the standby says that it is not
armed any more before it looks, a last time, whether something runs. The bell is rung
before the standby counts as armed, so that none is armed and asleep.

Where stores may pass loads (builds without a global lock) both may miss the other. In
those each store to an attribute ends by releasing a lock of the object's own, which keeps
the order; and were one missed, the standby's poll ends after `CHORES` (reactor.py), and
each call looks again whether it must ring: late, never for ever.

A signal handler of a task's may raise between any two steps of the task thread. `with` lets
go of `polling`, and the thread polls again: what it had said, it says anew. The standby's
thread takes no signals.

Invariants: one poller at a time; while a task runs, somebody can reach the poll; a
waiting thread gets the role back; nobody is woken while nothing is called for.
"""

from __future__ import annotations

import threading
from enum import Enum, auto

POLL_AGAIN = 0.002
"""Seconds after which a task thread with several jobs polls between two of them."""

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
    """The role is yours: poll while the task thread is `running`, then `yield_role`."""


class PollingRole:
    """The role and who wants it."""

    def __init__(self) -> None:
        self.polling = threading.Lock()
        """Held by the thread that polls."""
        self.standby = False
        """It is the standby that holds it."""
        self.running = False
        """The task thread has jobs to run; else it polls, or wants to. Set by the task thread
        outside of any lock; why the order is enough stands above."""
        self.armed = False
        """The standby ticks, and so notices what runs too long."""
        self.calls = 0
        """Polls that gave the task thread something to run; counted by the task thread."""
        self._calls_seen = 0
        self._quiet_ticks = 0

    def arm(self) -> None:
        """The standby's bell was rung: it ticks, until it says otherwise."""
        self.armed = True

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

    def yield_role(self) -> None:
        """The standby gives the role up; who waits for it has it then."""
        self.standby = False
        self.polling.release()
