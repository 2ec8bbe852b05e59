"""Memory that is kept for when there is none: given back, it lets what is there go on.

Whoever meets a `MemoryError` in bgpy's own work gives it back; nothing new is begun that needs
memory of its own until it could be kept again. Address space, as long as nobody writes to it.
"""

from __future__ import annotations

SIZE = 2**21
"""Bytes. Python takes memory from the system by the MiB."""

_kept: list[bytearray] = []


def keep() -> bool:
    """Whether it is kept, now or since before."""
    if not _kept:
        try:
            _kept.append(bytearray(SIZE))
        except MemoryError:
            return False
    return True


def give_back() -> None:
    """Let others have it; from any thread."""
    _kept.clear()
