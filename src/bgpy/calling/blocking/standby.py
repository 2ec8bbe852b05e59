"""The standby: a thread that reads a connection where no thread that waits does.

It is started by the first that would have to sleep, and rests while nothing is under way
(`helper`); it doesn't keep its connection alive then. No signal handler runs in it, so it is the
one that finds and tidies what a thread left that was struck down. Without memory it may fail
itself, at any step: it reads again then (`helper`), since everybody else waits for it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

from bgpy.calling.blocking.helper import Helper


class Reads(Protocol):
    """What the standby reads for: one side of a connection."""

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended, so that nobody reads any more."""

    def serve(self, turn: threading.Lock) -> None:
        """Read while anything is under way, with `turn` held."""


class Standby(Helper[Reads]):
    """Of one connection; it is rung, and told the end, with the client's lock held."""

    def __init__(self, reader: Reads) -> None:
        super().__init__(reader)
        self._reader = weakref.ref(reader)
        self._turn = threading.Lock()

    def do(self, what: Reads) -> None:
        """Read by that one's turn."""
        with self._turn:
            what.serve(self._turn)
        if what.has_ended:
            self.rest()

    def tell_end(self) -> None:
        """The connection has ended: if there is a standby it does what is left, and ends."""
        reader = self._reader()
        if reader is not None and self.is_running:
            self.ring(reader)
