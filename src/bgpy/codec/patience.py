"""How long is looked for what can't be pickled of an object, which may be of any size."""

from __future__ import annotations

import pickle
from time import thread_time
from typing import Any

LONGEST_LOOK = 0.2
"""Seconds of this thread's own time for one object: other programs on the machine count nothing."""


class NoPatience(Exception):
    """Looking has taken as long as it may."""


class Patience:
    """How much of that time is left."""

    def __init__(self, seconds: float = LONGEST_LOOK) -> None:
        self._until = thread_time() + seconds

    def is_over(self) -> bool:
        """Whether it is all gone, in the thread that made this."""
        return thread_time() > self._until

    def check(self) -> None:
        """Raise `NoPatience` when it is all gone."""
        if self.is_over():
            raise NoPatience


class Nowhere:
    """What a pickler writes to when only its success counts: nothing is kept.

    A pickler writes each 64 KiB, so one that takes too long ends here with `NoPatience`.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def write(self, piece: Any) -> int:
        """Take what the pickler has made."""
        self._patience.check()
        return memoryview(piece).nbytes


def is_out_of_band(buffer: pickle.PickleBuffer) -> bool:
    """For ``buffer_callback``: leave each buffer where it is; its bytes are not copied then."""
    return False


_PLAIN = frozenset(map(id, (int, float, complex, str, bytes, bool, type(None))))


def is_plain(value: Any) -> bool:
    """Whether `value` is of a class that can be pickled in any case; no metaclass is asked."""
    return id(type(value)) in _PLAIN
