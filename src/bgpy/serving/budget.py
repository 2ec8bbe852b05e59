"""The memory that a server lends to its clients, all of them together.

What counts is what clients have made the server keep: messages that are not whole yet,
requests that wait, replies that were not taken. A client may have three quarters of
what the others leave free, so that there is something left for the next one, however
much was taken before; alone it may have the largest message and a full line besides (`fitted`).

::

    receiving   by the thread that polls, as messages announce themselves
    queued      under the lock of the queue
    unsent      under the lock below, from any thread

Each number is changed in one place and read from all, without a lock: a sum that is a
moment old lets one message too many in, which the next look counts. The lock is
reentrant, since the collector may send where its thread adds already. What it surrounds
is one step, into which no signal handler and no collection can strike: the sum and what
it has of each keeper never come apart.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Protocol

from bgpy.config import Limits

NO_ROOM = (
    "the server's memory for requests and replies is used up (max_memory): this request did not "
    "start; send it again later"
)
"""What a client is told whose request is refused."""


class Overloaded(Exception):
    """The server's memory is lent out: a request was refused, and nothing of it runs."""


def fitted(limits: Limits) -> Limits:
    """`limits` as far as they fit together: a message into half of the memory, a line into a
    quarter."""
    largest, line = max(1, limits.max_memory // 2), max(1, limits.max_memory // 4)
    return replace(
        limits,
        max_message=min(limits.max_message, largest),
        max_queued=min(limits.max_queued, line),
        max_unsent=min(limits.max_unsent, line),
    )


class Keeper(Protocol):
    """What keeps replies that a socket hasn't taken."""

    kept: int
    """The bytes of them that are counted; changed by `Budget.keep` alone."""


class Budget:
    """Counts, and says who may have more. Sizes are in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Guards `unsent` alone: see the module's docstring.
        self._lock = threading.RLock()
        self.receiving = 0
        """Announced by messages that aren't whole yet."""
        self.queued = 0
        """Of the requests that wait."""
        self.unsent = 0
        """Replies that the sockets haven't taken."""
        self.ample = limit // 4
        """Below so much in use a small request needs no closer look."""

    @property
    def used(self) -> int:
        """How much is lent."""
        return self.receiving + self.queued + self.unsent

    def admits(self, own: int, size: int) -> bool:
        """Whether a client that has `own` already may have `size` more."""
        others = max(0, self.used - own)
        return 4 * (own + size) <= 3 * (self._limit - others)

    def keep(self, keeper: Keeper, size: int) -> bool:
        """Count that `keeper` has `size` bytes of replies now; whether there is room for them."""
        with self._lock:
            # Nothing is called between the two, so nothing can strike there.
            self.unsent += size - keeper.kept
            keeper.kept = size
        return self.used <= self._limit
