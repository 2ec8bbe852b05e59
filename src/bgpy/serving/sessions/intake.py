"""The memory of the message that is under way from one client.

A large message is given its memory as it announces its parts, as long as the server has
as much for this client. Else it is thrown away as it comes, and its request is refused:
so the connection stays, and all else that is under way on it. What is thrown away gets
memory that nothing is ever written to: pages that nobody touches take none.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

from bgpy.memory import allocate
from bgpy.serving.budget import Budget
from bgpy.wire.messages import Message

ALWAYS = 2**16
"""Bytes that a message under way may take whatever the others have."""


class Intake:
    """Used by the thread that polls."""

    def __init__(self, budget: Budget, own: Callable[[], int]) -> None:
        """`own` tells how many bytes the server keeps for this client already."""
        self._budget = budget
        self._own = own
        self._counted = 0
        self._thrown: list[mmap.mmap] = []

    @property
    def throws(self) -> bool:
        """Whether what is under way is thrown away."""
        return bool(self._thrown)

    def allocate(self, size: int) -> memoryview:
        """Memory for the next part of a message."""
        total = self._counted + size
        if not self._thrown and (total <= ALWAYS or self._budget.admits(self._own(), total)):
            memory = allocate(size)
            # Nothing can strike between the two.
            self._counted += size
            self._budget.receiving += size
            return memory
        mapped = mmap.mmap(-1, size)
        self._thrown.append(mapped)
        return memoryview(mapped)

    def arrived(self, under_way: int = 0) -> None:
        """What came before is whole: it is counted elsewhere now, or not kept.

        `under_way` is how many bytes the message has memory of that began behind it.
        """
        kept = min(under_way, self._counted)
        self._budget.receiving -= self._counted - kept
        self._counted = kept

    def was_thrown(self, message: Message) -> bool:
        """Whether it is `message` of which something was thrown away."""
        head = getattr(message, "head", b"")
        pieces = [head, *(getattr(message, "buffers", None) or ())]
        text = getattr(message, "text", "")
        if any(getattr(piece, "obj", None) is each for piece in pieces for each in self._thrown):
            self._thrown.clear()
            return True
        if isinstance(text, str) and text.startswith("\0"):
            # A text is a copy: of memory that nothing was written to, and as long as that.
            for each in self._thrown:
                if len(each) == len(text):
                    self._thrown.remove(each)
                    return True
        return False

    def close(self) -> None:
        """Nothing more comes."""
        self.arrived()
        self._thrown.clear()
