"""The program that clients live in: its forks, and its end."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Protocol, TypeVar

from bgpy.calling.blocking.channel import Channel

T = TypeVar("T")

FAREWELL = 5.0
"""Seconds that a server has to read what has left, when a client is closed or its program ends."""

ENDED = "the program has ended"


class Program:
    """Whether this program is ending: then nobody counts on other threads any more."""

    ends = False


class Member(Protocol):
    """A client, as far as the program concerns it."""

    def say_goodbye(self, reason: str, deadline: float) -> Channel | None:
        """Send what there is and a goodbye; the channel, if it is to be read to its end."""

    def prepare_for_the_end(self) -> None:
        """Import what a late call takes, as long as that is possible."""

    def wait_for_others(self, deadline: float) -> None:
        """Wait for the calls that other threads make over connections of their own."""

    def reset_in_child(self) -> None:
        """In a forked child: leave the parent its connection and begin anew."""


_members: set[weakref.ref[Member]] = set()
"""No `WeakSet`, which Python code goes through: other threads make and drop clients meanwhile,
where a set is copied whole."""


def join(member: Member) -> None:
    """Have `member` told of forks and of the end, as long as it lives."""
    _members.add(weakref.ref(member, _members.discard))


def _living() -> list[Member]:
    return [member for each in _members.copy() if (member := each()) is not None]


def _reset_in_child() -> None:
    """In a forked child: each begins anew, whatever another raises: the connections are the
    parent's."""
    roll = RollCall()
    for member in _living():
        roll.of(member.reset_in_child)
    roll.raise_first()


class RollCall:
    """Tells one member after another, so that none is left out for what another raises."""

    def __init__(self) -> None:
        self._first: BaseException | None = None
        self.deadline = monotonic() + FAREWELL
        """Until when may be waited; over once somebody has interrupted that."""

    def of(self, told: Callable[..., T], *arguments: object) -> T | None:
        """What `told` gives; None where it raises."""
        try:
            return told(*arguments)
        except BaseException as error:
            if self._first is None:
                self._first = error
            if not isinstance(error, Exception):  # Ctrl-C: what waits still isn't waited for
                self.deadline = monotonic()
            return None

    def raise_first(self) -> None:
        """Raise what was raised first, if anything was."""
        if self._first is not None:
            raise self._first


def _end_all() -> None:
    """At the program's end: all that was submitted leaves, and is read by the servers.

    Registered when bgpy is imported, so it runs after what the program registers; what comes
    later still makes connections of its own.
    """
    Program.ends = True
    members = _living()
    roll = RollCall()
    for member in members:
        roll.of(member.prepare_for_the_end)
    leaving = [roll.of(member.say_goodbye, ENDED, roll.deadline) for member in members]
    for channel in leaving:
        if channel is not None:
            roll.of(channel.wait_closed, roll.deadline)
            roll.of(channel.close, ENDED)
    for member in members:
        roll.of(member.wait_for_others, roll.deadline)
    roll.raise_first()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
atexit.register(_end_all)
