"""The program that clients live in: its forks, and its end."""

from __future__ import annotations

import atexit
import os
import weakref
from functools import cache
from time import monotonic
from types import ModuleType
from typing import Protocol

from bgpy.calling.blocking.channel import Channel
from bgpy.wire.handshake import crypto

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

    def reset_in_child(self) -> None:
        """In a forked child: leave the parent its connection and begin anew."""


_members: weakref.WeakSet[Member] = weakref.WeakSet()


def join(member: Member) -> None:
    """Have `member` told of forks and of the end, as long as it lives."""
    _members.add(member)


@cache
def futures() -> ModuleType:
    """The module of futures: 8 ms that a program without them never needs.

    It is kept for a ``__del__`` that submits when nothing can be imported any more.
    """
    from bgpy.calling.blocking import futures

    return futures


def _import_what_late_calls_need() -> None:
    import encodings.idna  # noqa: F401 - for names of hosts
    import json  # noqa: F401 - for records of servers

    crypto()
    futures()


def _reset_in_child() -> None:
    for member in list(_members):
        member.reset_in_child()


def _leave() -> None:
    """At the program's end: all that was submitted leaves, and is read by the servers.

    Registered when bgpy is imported, so it runs after what the program registers; what comes
    later still makes connections of its own.
    """
    Program.ends = True
    members = list(_members)
    if members:
        _import_what_late_calls_need()
    deadline = monotonic() + FAREWELL
    leaving = [member.say_goodbye(ENDED, deadline) for member in members]
    for channel in leaving:
        if channel is not None:
            channel.wait_closed(deadline)
            channel.close(ENDED)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
atexit.register(_leave)
