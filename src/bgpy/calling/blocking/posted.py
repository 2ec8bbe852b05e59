"""A call that was submitted, on its way to a connection."""

from __future__ import annotations

from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.terms import Terms
from bgpy.memory import Payload
from bgpy.system.deadlines import deadline_in


class Posted:
    """Its future, what it sends, and on what terms."""

    __slots__ = ("call", "channel", "payload", "terms")

    def __init__(self, call: CallFuture, payload: Payload, told: int) -> None:
        """`told` is the last restart that the client had been told of."""
        self.call = call
        self.payload = payload
        deadline = deadline_in(call.timeout)
        self.terms = Terms(call.timeout, deadline, told, waits=False, notice=True)
        self.channel: Channel | None = None
        """The one that has taken it, in part or whole."""
