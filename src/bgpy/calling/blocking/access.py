"""How a client's call comes to a connection: the one that all share, or one of its own.

A call that comes in on a thread which is in the midst of another one (a signal handler's, or
that of a ``__del__`` which the collector runs) takes a connection of its own: it may not
wait for what its own thread holds. The same serves when the interpreter ends, and other
threads are no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.connector import Connector, TooLate
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.program import FAREWELL, Program
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.conversation import Acquaintance, timed_out
from bgpy.config import short_roads
from bgpy.errors import CallingSelf
from bgpy.memory import Payload
from bgpy.system.deadlines import deadline_in, seconds_left
from bgpy.tasks import current
from bgpy.wire.small import SMALL_CALL

OVER = "the call is over"

Ask = Callable[[Channel, float | None], Any]
"""Sends over a channel, and waits up to a deadline."""


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


class Posted:
    """A call that was submitted, on its way to a connection."""

    __slots__ = ("call", "channel", "deadline", "payload", "told")

    def __init__(self, call: CallFuture, payload: Payload, told: int) -> None:
        self.call = call
        self.payload = payload
        self.deadline = deadline_in(call.timeout)
        self.told = told
        """The last restart that the client had been told of."""
        self.channel: Channel | None = None
        """The one that has taken it, in part or whole."""


class Access:
    """Of one client to its server."""

    def __init__(self, target: Target, connect_timeout: float, acquaintance: Acquaintance) -> None:
        self.acquaintance = acquaintance
        self.shared = Shared(target.address)
        self.here = self.shared.here
        self.connector = Connector(target, connect_timeout, self.shared, acquaintance)
        self.posted: deque[Posted] = deque()
        """Submitted calls that no connection has taken: they go before what comes later."""
        self._small = SMALL_CALL if short_roads() else -1

    def is_inside(self) -> bool:
        """Whether this thread may neither take the client's lock nor wait for its threads."""
        return Program.ends or self.here.inside.locked()

    def short_road(self, payload: Payload, timeout: float | None) -> tuple[Channel, bytes] | None:
        """What takes nearly all calls, those of a small plain pickle without a time limit.

        The channel and the pickle; None where anything has to be seen to before, or the call
        is another one (docs/design/0026).
        """
        head, buffers, code = payload
        channel = self.connector.channel
        if (
            timeout is None
            and channel is not None
            and isinstance(head, bytes)
            and len(head) <= self._small
            and channel.generation <= self.acquaintance.notified
            and not (buffers or code or self.posted or Program.ends)
            and not (self.here.inside.locked() or current.is_task_thread())
        ):
            return channel, head
        return None

    def connected(
        self,
        deadline: float | None,
        timeout: float | None,
        goes_on: Callable[[], bool] | None = None,
    ) -> Channel:
        """The channel that all share, made if need be; raises as `Connector.connected`, and
        `CallTimeout`."""
        try:
            # A thread that is started while the program ends may never run.
            return self.connector.connected(deadline, Program.ends, goes_on)
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
            return ask(channel, deadline)
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
