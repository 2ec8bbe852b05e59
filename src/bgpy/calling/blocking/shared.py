"""What a client's connections, one after another, have in common."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from bgpy.address import Address
from bgpy.calling.blocking import threads
from bgpy.calling.blocking.finishers import Finishers


class Unusable(Exception):
    """The connection has ended before anything of a request was sent on it."""


class NoReader(Exception):
    """Another thread reads, and none can be started to stand by: nothing was sent."""


class Numbers:
    """The ids of a client's requests."""

    def __init__(self) -> None:
        self.last = 0

    def draw(self) -> int:
        """A new one; with the client's lock held."""
        self.last = number = self.last + 1
        return number


def _nothing() -> None:
    """A reference to nothing."""


class Shared:
    """Of one client: its lock, its numbers, and what its threads know of each other.

    `lock` stands around everything that several threads of the client change: the ids, each
    connection's conversation, turns and send queue, the connection in use and the attempt
    to make one, the deadlines of futures. It is taken by ``with``, for microseconds, and
    never while anything is waited for; the argument stands in `channel`.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        """Of the server."""
        self.lock = threading.Lock()
        self.numbers = Numbers()
        self.here = threads.Presence()
        self.push_on: Callable[[], Callable[[], object] | None] = _nothing
        """A weak reference to what has the client's sender send what stays behind."""
        self.finishers = Finishers(self)
        self.posted: deque[Any] = deque()  # of `Posted`, which stands on this
        """Submitted calls that no connection has taken: they go before what comes later."""
