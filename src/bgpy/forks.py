"""What a fork must not cut in two: it waits for such work, or the child has a lock of its own.

A forked child has the thread that forked and no other, but all locks as they were: one that
another thread held is never released there. bgpy's own are renewed in the child (`OwnLock`);
those of other libraries can't be: Python's, one for each module while it is imported
(`bgpy.late` has a lock for these), and OpenSSL's, which it takes while it shakes hands
(`bgpy.tls.layer`). The child also has a copy of each descriptor, and has to know those that
it must close (`bgpy.system.locks`). What is done `briefly` holds a fork off: it waits until
the work has ended, and the child finds all whole.

**Who waits for it.** A fork, and for a moment another thread that does such work. Not for
ever: in the midst of it the collector may run a ``__del__`` of the program's that calls a
server, and so waits for the thread that connects. If that one waited for the lock, both would
for ever. So it goes on without when `BRIEF_WAIT` is over: a fork may cut it in two then.

The lock is reentrant, because the thread that holds it may itself fork, in what a signal
handler or the collector runs. ``fork`` calls functions of the lock, in C. Where it has to
wait, a signal handler that raises ends the wait: the fork goes on as if nobody had held it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import TypeVar

T = TypeVar("T")

BRIEF_WAIT = 0.1
"""Seconds that brief work waits for another's, which takes microseconds."""

uncut = RLock()

if hasattr(os, "register_at_fork"):
    # In the child as well: the thread that forked holds the lock there.
    os.register_at_fork(
        before=uncut.acquire, after_in_parent=uncut.release, after_in_child=uncut.release
    )


def briefly(action: Callable[[], T]) -> T:
    """Do `action`, which is short, uncut by a fork, unless another's work takes a `BRIEF_WAIT`."""
    taken = False
    try:
        # The head of a loop is one step for a signal handler, which raises before or after it.
        for taken in map(uncut.acquire, (True,), (BRIEF_WAIT,)):  # noqa: B007
            break
        return action()
    finally:
        if taken:
            uncut.release()


class OwnLock:
    """A reentrant lock of a module, taken by ``with lock.here``; a forked child has a new one.

    For locks that are held for a few steps on data that is whole before and after each: the child
    finds that data as it is, since the thread that was changing it isn't there.
    """

    __slots__ = ("here",)

    def __init__(self) -> None:
        """Make it once, with its module: it is renewed as long as the process lives."""
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.here = RLock()
