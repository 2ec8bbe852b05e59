"""What the system is short of when it refuses a socket, a file or an import.

That says nothing about the server or the file concerned: the same works once there is room.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple


class Shortage(NamedTuple):
    """What there is none left of, in words."""

    problem: str
    advice: str


_DESCRIPTORS = Shortage(
    "this program has no file descriptor free",
    "close files or connections, or raise the limit (ulimit -n)",
)
_FILES = Shortage(
    "this system has no room for another open file",
    "close files or connections, or raise the system's limit",
)
_MEMORY = Shortage(
    "the system has no memory left for it",
    "free some memory, or close connections",
)

_SHORTAGES = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _FILES,
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
    # As Windows numbers those of sockets.
    getattr(errno, "WSAEMFILE", errno.EMFILE): _DESCRIPTORS,
    getattr(errno, "WSAENOBUFS", errno.ENOBUFS): _MEMORY,
}


def shortage(error: BaseException | None) -> Shortage | None:
    """What an error, or one that it was made from, says the system is short of; else None."""
    while error is not None:
        found = _SHORTAGES.get(error.errno or 0) if isinstance(error, OSError) else None
        if found is not None:
            return found
        error = error.__cause__
    return None


_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Of a disk: no space, no inodes, or no more of either for this user."""


def room_advice(error: OSError) -> str | None:
    """What to do where no file could be made or written for want of anything; None elsewhere."""
    short = shortage(error)
    if short is not None:
        return short.advice
    return "make room on that disk" if error.errno in _NO_ROOM else None


def no_descriptor() -> Shortage | None:
    """The same by trying to open a file, for those that don't tell why they failed."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return shortage(error)
    return None
