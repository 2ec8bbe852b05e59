"""The standby: a thread that reads a connection where no thread that waits does.

It is started by the first that would have to sleep, and rests while nothing is under way
(`helper`); it doesn't keep its channel alive then. No signal handler runs in it, so it is the
one that finds and tidies what a thread left that was struck down.
"""

from __future__ import annotations

import threading
from typing import Protocol

from bgpy.calling.blocking.helper import Helper


class Reader(Protocol):
    """What the standby reads for: a channel."""

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended, so that nobody reads any more."""

    def serve(self, turn: threading.Lock) -> None:
        """Read while anything is under way, with `turn` held."""


class Standby(Helper[Reader]):
    """Of one channel; it is rung, and told the end, with the client's lock held."""

    def __init__(self, channel: Reader) -> None:
        super().__init__(channel)
        self._turn = threading.Lock()

    def do(self, what: Reader) -> None:
        """Read for that channel."""
        with self._turn:
            what.serve(self._turn)
        if what.has_ended:
            self.rest()

    def tell_end(self, channel: Reader) -> None:
        """The connection has ended: if there is a standby it does what is left, and ends."""
        if self.is_running:
            self.ring(channel)
