"""On what terms a call is sent: what is decided before anything of it leaves, and nothing else.

::

    a call ──way──► SHARED: over the connection that all share ──┐
                    QUEUED: over it too, by another thread ──────┼─verdict──► GO
                    APART: over one of its own ──────────────────┘            RESTARTED, OWN_SERVER

No lock, thread, socket or clock is here. The short roads (`blocking.access`) take what would go by
`SHARED` and `GO` on any terms; a test holds their conditions against these.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from bgpy.errors import CallingSelf


class Way(Enum):
    """How a call comes to a connection."""

    SHARED = "by its own thread, over the connection that all share"
    QUEUED = "over that one, by another thread: its own is in the midst of the client"
    APART = "by its own thread, over a connection of its own"


class Verdict(Enum):
    """Whether a call may be sent over a connection."""

    GO = "it may"
    RESTARTED = "its caller has to know first that the server was restarted"
    OWN_SERVER = "it never ends: a task would wait for the server that runs it"


class Terms(NamedTuple):
    """What a call asks of the connection that it is sent over."""

    timeout: float | None
    """Seconds that its caller gave it."""
    deadline: float | None
    began: int
    """The last restart that the client had been told of when the call began."""
    waits: bool
    """Whether its thread waits for an answer that comes only when a task has run."""
    notice: bool
    """Whether the caller has to know of a restart before."""

    def verdict(self, generation: int, is_own_server: bool) -> Verdict:
        """Whether it may use a connection of that generation, perhaps to its own task's server."""
        if self.notice and generation > self.began:
            return Verdict.RESTARTED
        if self.waits and is_own_server:
            return Verdict.OWN_SERVER
        return Verdict.GO


def way(program_ends: bool, inside: bool) -> Way:
    """That of a call which is waited for.

    `inside` says that its thread is in the midst of the client (this is a signal handler's call,
    or a ``__del__``'s): it may hold what it would wait for. When the program ends, other threads
    may be no more.
    """
    return Way.APART if program_ends or inside else Way.SHARED


def way_of_future(program_ends: bool, inside: bool, tells: bool, sends: bool) -> Way:
    """That of a submitted call.

    `tells` says that there is a thread to call back, `sends` that there is one to send.
    """
    if program_ends or not tells:
        return Way.APART
    if inside:
        return Way.QUEUED if sends else Way.APART
    return Way.SHARED


def calls_itself() -> CallingSelf:
    """The error of a task that waits for its own server."""
    return CallingSelf(
        "a task can't wait for a call to its own server, which runs one task at a time",
        advice="call the function itself, or use execute() without await_response",
    )


def waits_for_itself() -> CallingSelf:
    """The error of a task that waits for a future of its own server: that call is on its way."""
    return CallingSelf(
        "a task can't wait for a future of its own server, which runs one task at a time; that "
        "call stays queued, and runs after this task",
        advice="don't repeat it: let the task return, and use the future's result later",
        progress="unknown",
    )
