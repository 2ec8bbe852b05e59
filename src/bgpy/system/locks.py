"""Locks on files: one that a server holds for life, one that is held for a moment.

::

    lock    taken or not, never waited for; inherited by what the server forks, so that
            the server's own end lets it go explicitly
    guard   waited for; held only while files are looked at or changed
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bgpy.errors import StartupError

OPEN_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0))
)
"""For files in a private folder: opened or made, no links, not for programs started."""


@contextmanager
def opened(path: str) -> Iterator[None]:
    """Turn what the system says against a file of a server's folder into `StartupError`.

    Only that the file is missing stays what it is: that says something about the server.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StartupError(
            f"{path} can't be used: {error.strerror}; bgpy made a file there, remove what it is now"
        ) from error


def open_lock(path: str) -> int:
    """Open the lock file, made where missing; the caller closes the descriptor."""
    with opened(path):
        return os.open(path, OPEN_FLAGS, 0o600)


def is_held(path: str) -> bool:
    """Tell whether anyone holds the lock. Takes it for a moment: call it under the guard."""
    descriptor = open_lock(path)
    try:
        if try_lock(descriptor):
            unlock(descriptor)
            return False
        return True
    finally:
        os.close(descriptor)


@contextmanager
def guarded(path: str) -> Iterator[None]:
    """Hold the guard `path` in the `with` block, after waiting for whoever has it."""
    descriptor = open_lock(path)
    try:
        _wait_for_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Take the lock if nobody has it; tell whether that worked."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_for_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

    def unlock(descriptor: int) -> None:
        """Let the lock go, also for forked children that share the descriptor."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Take the lock if nobody has it; tell whether that worked."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_for_lock(descriptor: int) -> None:
        # A lock of this process alone: a child forked at this moment doesn't keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX)

    def unlock(descriptor: int) -> None:
        """Let the lock go, also for forked children that share the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
