"""Locks on files: one that a server holds for life, one that is held for a moment.

::

    lock    taken or not, never waited for; inherited by what the server forks, so that
            the server releases it explicitly when it ends
    guard   waited for; held only while files are looked at or changed

**Why the guard excludes everybody.** It is ``flock`` on a descriptor that was opened for this
one holder. Such a lock belongs to the open file, not to the process as those of ``lockf`` do:
two threads exclude each other as two processes do, and no thread lets another's go by closing
its own descriptor of the same file.

**Why it is never left behind.** The holder has a `FileIO`, an object of C: ``with`` enters and
leaves it without a gap in which a signal handler could raise, and if a handler raises before
that, the object goes, and with it descriptor and lock. A child that is forked meanwhile by
another thread has a copy of the descriptor, which would keep the lock: it closes its copies
first thing (`_close_in_child`), and a fork waits until those just opened are noted (`briefly`).
On Windows there is no fork, and the lock belongs to the handle.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from weakref import ref

from bgpy.errors import StartupError
from bgpy.forks import briefly
from bgpy.shortage import room_advice

OPEN_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0))
)
"""For files in a private folder: opened or made, no links, not for programs started."""

_last_opened: deque[ref[FileIO]] = deque(maxlen=256)
"""The files opened last, among them all whose locks a forked child mustn't keep: nobody holds
one for long. Without callbacks, in which what a signal handler raises would be lost."""


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
        advice = room_advice(error)
        if advice is None and error.errno == errno.EROFS:
            advice = "choose a BGPY_HOME that can be written to"
        raise StartupError(
            f"{path} can't be used ({error.strerror})",
            advice=advice or "bgpy keeps a file of its own there; remove whatever is in its place",
        ) from error


def open_lock(path: str) -> int:
    """Open the lock file, made where missing; the caller closes the descriptor."""
    with opened(path):
        return os.open(path, OPEN_FLAGS, 0o600)


def is_held(path: str) -> bool:
    """Tell whether anyone holds the lock. Takes it for a moment: call it under the guard."""
    with _file(path) as file:
        if try_lock(file.fileno()):
            unlock(file.fileno())
            return False
        return True


def guarded(path: str) -> FileIO:
    """Take the guard `path` for a ``with`` block, waiting while another holds it.

    The end of the block releases it; the caller does nothing else with the file.
    """
    file = _file(path)
    try:
        _wait_for_lock(file.fileno())
        return file
    except BaseException:
        file.close()
        raise


def _file(path: str) -> FileIO:
    """The file, made where missing; a forked child closes its copy."""
    with opened(path):
        # Only this user can put a link there, and nothing is to be made where it leads.
        if os.path.islink(path):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return briefly(partial(_opened, path))  # a child has no copy that it doesn't know of


def _opened(path: str) -> FileIO:
    # Opened by C alone: a descriptor that a function of Python's returned could be lost.
    file = FileIO(path, "a+", opener=_open_privately)
    _last_opened.append(ref(file))
    return file


_open_privately = partial(os.open, mode=0o600)


def _close_in_child() -> None:
    """Close the copies of what other threads held when this process was forked.

    Closing a copy doesn't let the parent's lock go: only the last one's end does.
    """
    for each in _last_opened:
        file = each()
        if file is not None:
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


if sys.platform == "win32":
    import msvcrt
    import time

    _PAUSE = 0.01
    """Seconds between two attempts: LK_LOCK makes ten, one a second, and gives up."""

    def try_lock(descriptor: int) -> bool:
        """Take the lock if nobody has it; tell whether that worked."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_for_lock(descriptor: int) -> None:
        while not try_lock(descriptor):
            time.sleep(_PAUSE)

    def unlock(descriptor: int) -> None:
        """Release the lock, also for forked children that share the descriptor."""
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
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def unlock(descriptor: int) -> None:
        """Release the lock, also for forked children that share the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
