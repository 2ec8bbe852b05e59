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
from typing import Any

from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.connector import Connector, TooLate
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.blocking.program import FAREWELL, Program
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.terms import Terms, Verdict, Way, calls_itself, way
from bgpy.calling.timeouts import not_connected
from bgpy.system.deadlines import seconds_left
from bgpy.tasks import current

OVER = "the call is over"

Ask = Callable[[Channel, float | None], Any]
"""Sends over a channel, and waits up to a deadline."""


class Access:
    """Of one client to its server."""

    def __init__(self, target: Target, connect_timeout: float, acquaintance: Acquaintance) -> None:
        self.acquaintance = acquaintance
        self.look = target.look
        self.shared = Shared(target.address)
        self.here = self.shared.here
        self.connector = Connector(target, connect_timeout, self.shared, acquaintance)
        self.posted: deque[Posted] = self.shared.posted

    def is_inside(self) -> bool:
        """Whether this thread may neither take the client's lock nor wait for its threads."""
        return way(Program.ends, self.here.is_inside()) is Way.APART

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
            raise not_connected(timeout, self.shared.address) from error

    def check(self, channel: Channel, terms: Terms) -> None:
        """Raise `ServerRestarted` or `CallingSelf` where a call must not use `channel`."""
        verdict = terms.verdict(channel.generation, is_own_server(channel))
        if verdict is Verdict.RESTARTED:
            raise self.acquaintance.restarted(channel.generation)
        if verdict is Verdict.OWN_SERVER:
            raise calls_itself()

    def apart(self, ask: Ask, terms: Terms) -> Any:
        """Have `ask` send over a connection of its own that is closed after."""
        deadline = terms.deadline
        try:
            channel = self.connector.apart(deadline)
        except TooLate as error:
            raise not_connected(terms.timeout, self.shared.address) from error
        channel.generation = self.acquaintance.generation_of(channel.link.welcome.incarnation)
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
    return current.is_task_thread_of(channel.link.welcome.incarnation)
