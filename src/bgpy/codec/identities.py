"""What is kept of an object as long as it lives, found by which object it is.

A `WeakKeyDictionary` asks objects for their hash and whether they are equal, which is slow for a
code object, and for one of the user's may be anything.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Identities(Generic[V]):
    """A value for each object of some, gone with the object if nothing in it leads back to that.

    Any thread may read and write: an entry is put and taken whole, and says whose it is, so that
    one of an object that is gone is never taken for that of another at the same place in memory.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}

    def get(self, owner: Any) -> V | None:
        """The value that was put for this object; None without one."""
        entry = self._entries.get(id(owner))
        return entry[1] if entry is not None and entry[0]() is owner else None

    def put(self, owner: Any, value: V) -> None:
        """Keep `value` for this object, in place of another.

        Raises `TypeError` if nothing can be kept for objects of that class.
        """
        key = id(owner)
        # With the method, which the end of a program can't have taken from this module.
        self._entries[key] = weakref.ref(owner, partial(self._entries.pop, key)), value

    def first(self, owner: Any, value: V) -> V:
        """Keep `value` for this object unless there is one; gives the one that there is."""
        key = id(owner)
        entry = weakref.ref(owner, partial(self._entries.pop, key)), value
        of, first = self._entries.setdefault(key, entry)
        if of() is not owner:  # of an object that is gone
            self._entries[key] = entry
            return value
        return first
