"""Who polls the sockets: the state of the moving role, one critical section a method.

The task thread polls while it has nothing to run, and runs what it received with no
hand-over between threads. While a task keeps it, a standby thread takes the role.

::

    task thread                                   standby
    not running ─ poll ─ running                   bell ─ look, each TICK ─ claim
       └ standby polls: wake it, and wait ◄──────────── yield_role ◄ poll while it runs

The role is the task thread's, which takes no lock for it: it polls at each call. The standby
claims it while a task runs, and holds `polling` then, for the task thread to wait for
(`Reactor._ask_back`). `arm`, `look` and `yield_role` are called under one lock, `claim` is two
steps, and the others are one each. Nothing here waits for long, so that a model of the two threads
can be walked through all its states (tests/support/role_model.py).

Why never both poll: the task thread says that it runs nothing, then looks whether the standby has
the role, and if so wakes it and waits; the standby takes the lock, says that it has the role, then
looks whether anything runs, before it does anything with it, and before each poll. So one of the
two sees the other.

Who arms the standby, and how it falls asleep: the task thread says that it runs
something before it looks whether the standby is armed; the standby says that it is not
armed any more before it looks, a last time, whether something runs. The bell is rung
before the standby counts as armed, so that none is armed and asleep.

Where loads may pass stores (builds without a global lock) both may miss the other. In
those each store to an attribute ends by releasing a lock of the object's own, by an atomic
exchange, which keeps the order.

A signal handler of a task's may raise between any two steps of the task thread. It polls again
then: what it had said, it says anew. The standby's thread takes no signals.

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
    """Nobody polls: `claim` the role, poll while the task thread is `running`, `yield_role`."""


class PollingRole:
    """The role and who wants it."""

    def __init__(self) -> None:
        self.polling = threading.Lock()
        """Held by the standby while it has the role."""
        self.standby = False
        """It has."""
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
        """The standby's tick: it is to take the role if nobody has polled since the last one."""
        if self.running:
            self._quiet_ticks = 0
            overdue = self.calls == self._calls_seen
            self._calls_seen = self.calls
            return Look.POLL if overdue else Look.TICK
        if self.calls != self._calls_seen:
            self._calls_seen = self.calls
            self._quiet_ticks = 0
            return Look.TICK
        self._quiet_ticks += 1
        if self._quiet_ticks < QUIET_TICKS:
            return Look.TICK
        self._quiet_ticks = 0
        return Look.SLEEP

    def claim(self) -> None:
        """The standby takes the role, if the task thread is `running` still: it looks after this.

        It waits for no longer than the task thread takes to see that the role is free.
        """
        self.polling.acquire()
        self.standby = True

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
