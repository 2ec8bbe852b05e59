"""The memory of the message that is under way from one client.

A message is given memory for each of its parts when it announces that, if all of it would
fit now. It counts as its bytes come, so that clients which announce much and send nothing
keep nothing from others. While the server has used little, a part counts `AHEAD` bytes
more, since the quickest memory is filled or comes in huge pages. Once it has used more, the
memory is of a kind that takes no more than small pages for what has come.

A message is thrown away, and its request is refused, where there is no memory for it: as
a part announces itself, or as its bytes come, where others were quicker to use what was
free. So the connection stays, and all else that is under way on it.
"""

from __future__ import annotations

from collections.abc import Callable

from bgpy.memory import LARGE, allocate, allocate_lazily
from bgpy.serving.budget import Budget
from bgpy.serving.sessions.stall import Stall
from bgpy.wire.frames import FrameReader
from bgpy.wire.messages import Message

ALWAYS = 2**16
"""Bytes that a message under way may take whatever the others have."""


AHEAD = LARGE
"""Bytes that count ahead of those that have come: all of a part that is smaller."""


class Intake:
    """Used by the thread that polls."""

    __slots__ = ("_ahead", "_budget", "_own", "_stall", "counted", "receives")

    def __init__(self, budget: Budget, own: Callable[[], int], stall: Stall) -> None:
        """`own` tells how many bytes the server keeps for this client already.

        `stall` looks whether `receives` changes while a message is under way.
        """
        self._budget = budget
        self._own = own
        self._ahead = 0  # what the part under way counts ahead of what has come
        self._stall = stall
        self.counted = 0
        """Bytes that the budget counts for what is under way."""
        self.receives = 0
        """Receives that brought a part of a message, ever."""

    def allocate(self, size: int) -> memoryview | None:
        """Memory for the next part of a message; None where there is none for it."""
        budget = self._budget
        small = self.counted + size <= ALWAYS
        if not small and not self._admits(size):
            return None
        ahead = min(size, AHEAD)
        if not small and budget.used + ahead > budget.ample:
            memory, ahead = allocate_lazily(size), 0
        else:
            memory = allocate(size)
        self._ahead = ahead
        self._count(self.counted + ahead)
        return memory

    def came(self, given: int, missing: int) -> bool:
        """Count the message under way: `given` bytes of memory, of which `missing` are to come.

        Whether there is memory for it still. What was counted before and isn't under way any
        more is counted elsewhere, or not kept.
        """
        counted = given - max(0, missing - self._ahead)
        grows = counted > max(self.counted, ALWAYS)
        self._count(counted)
        return not grows or self._admits(0)

    def look_after(self, reader: FrameReader[Message]) -> None:
        """Look after the memory of a message that is under way, or was, and its progress."""
        if not self.came(*reader.under_way):
            reader.throw_away()
            self.came(*reader.under_way)
        if not reader.idle:
            self.proceeds()

    def proceeds(self) -> None:
        """A part of a message has come, and more is to come.

        No clock is looked at then, and no timer set for messages that come whole.
        """
        self.receives += 1
        self._stall.watch()

    def close(self) -> None:
        """Nothing more comes."""
        self._count(0)
        self._stall.close()

    def _admits(self, size: int) -> bool:
        return self._budget.admits(self._own() + self.counted, size)

    def _count(self, size: int) -> None:
        # Nothing is called between the two, so nothing can strike there.
        self._budget.receiving += size - self.counted
        self.counted = size
