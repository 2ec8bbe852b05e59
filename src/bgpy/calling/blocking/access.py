"""How a client's call comes to a connection: the one that all share, or one of its own.

A call that comes in on a thread which is in the midst of another one (a signal handler's, or
that of a ``__del__`` which the collector runs) takes a connection of its own: it may not
wait for what its own thread holds. The same serves when the interpreter ends, and other
threads are no more.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.connector import Connector, TooLate
from bgpy.calling.blocking.program import FAREWELL, Program
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.conversation import Acquaintance, timed_out
from bgpy.errors import CallingSelf
from bgpy.system.deadlines import seconds_left
from bgpy.tasks import current

OVER = "the call is over"

Ask = Callable[[Channel, float | None, Lock], Any]
"""Sends over a channel, and waits up to a deadline, with the turn of its thread."""


class Terms(NamedTuple):
    """What a call asks of the connection that it is sent over."""

    timeout: float | None
    """Seconds that its caller gave it."""
    deadline: float | None
    began: int
    """The last restart that the client had been told of when the call began."""
    waits: bool
    """Whether the answer comes only when a task has run."""
    notice: bool
    """Whether the caller has to know of a restart before."""


class Access:
    """Of one client to its server."""

    def __init__(self, target: Target, connect_timeout: float, acquaintance: Acquaintance) -> None:
        self.acquaintance = acquaintance
        self.shared = Shared(target.address)
        self.here = self.shared.here
        self.connector = Connector(target, connect_timeout, self.shared, acquaintance)

    def is_inside(self) -> bool:
        """Whether this thread may neither take the client's lock nor wait for its threads."""
        return Program.ends or self.here.inside.locked()

    def connected(self, deadline: float | None, timeout: float | None) -> Channel:
        """The channel that all share, made if need be; raises as `Connector.connected`, and
        `CallTimeout`."""
        try:
            # A thread that is started while the program ends may never run.
            return self.connector.connected(deadline, here=Program.ends)
        except TooLate as error:
            raise timed_out(timeout, "not started") from error

    def check(self, channel: Channel, terms: Terms) -> None:
        """Raise `ServerRestarted` or `CallingSelf` where a call must not use `channel`."""
        if terms.notice and channel.generation > terms.began:
            raise self.acquaintance.restarted(channel.generation)
        if terms.waits and is_own_server(channel):
            raise calls_itself()

    def alone(self, ask: Ask, terms: Terms) -> Any:
        """Have `ask` send over a connection of its own that is closed after."""
        deadline = terms.deadline
        try:
            channel = self.connector.alone(deadline)
        except TooLate as error:
            raise timed_out(terms.timeout, "not started") from error
        channel.generation = self.acquaintance.generation_of(channel.welcome.incarnation)
        try:
            self.check(channel, terms)
            return ask(channel, deadline, Lock())
        finally:
            last = monotonic() + min(FAREWELL, seconds_left(deadline, FAREWELL))
            if channel.say_goodbye(OVER, last):
                channel.wait_closed(last)
            channel.close(OVER)


def is_own_server(channel: Channel) -> bool:
    """Whether this thread runs the tasks of the server at the other end."""
    return current.is_task_thread_of(channel.welcome.incarnation)


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
