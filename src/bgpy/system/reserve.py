"""Memory that is kept for when there is none: given back, it lets what is there go on.

Whoever meets a `MemoryError` in bgpy's own work gives it back; nothing new is begun that needs
memory of its own until it could be kept again. Address space, as long as nobody writes to it.
"""

from __future__ import annotations

SIZE = 2**21
"""Bytes. Python takes memory from the system by the MiB."""

_kept: list[bytes] = []


def keep() -> bool:
    """Whether it is kept, now or since before."""
    if not _kept:
        try:
            _kept.append(bytes(SIZE))  # a `bytearray` would write its zeros
        except MemoryError:
            return False
    return True


def give_back() -> bool:
    """Let others have it, from any thread; whether it was kept, and something may fit now."""
    kept = bool(_kept)
    _kept.clear()
    return kept
