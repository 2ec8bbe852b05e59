"""What a fork must not cut in two: it waits for such work, or the child has a lock of its own.

A forked child has the thread that forked and no other, but all locks as they were: one that
another thread held is never released there. bgpy's own are renewed in the child (`OwnLock`);
those of other libraries can't be: Python's, one for each module while it is imported
(`bgpy.late`), and OpenSSL's, which it takes while it shakes hands (`bgpy.tls.layer`). The child
also has a copy of each descriptor, and has to know those that it must close
(`bgpy.system.locks`). So such work is done while `uncut` is held, and ``fork`` takes that
first: it waits until the work has ended, and the child finds all whole.

**Who waits for it.** A fork, and an import, which waits for an import anyway. Nobody else:
while the lock is held the collector may run a ``__del__`` of the program's that calls a server,
and so waits for the thread that connects; if that one waited for the lock, both would for
ever. So what isn't an import takes the lock where it is free, and goes on without where it
isn't (`briefly`): a fork in that very moment may cut it in two then, as it always could.

It is reentrant, because the thread that holds it may itself fork, in what a signal handler or
the collector runs. ``fork`` calls functions of the lock, in C. Where it has to wait, a signal
handler that raises ends the wait: the fork goes on as if nobody had held it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import TypeVar

T = TypeVar("T")

uncut = RLock()

if hasattr(os, "register_at_fork"):
    # In the child as well: the thread that forked holds the lock there.
    os.register_at_fork(
        before=uncut.acquire, after_in_parent=uncut.release, after_in_child=uncut.release
    )

_AT_ONCE = (False,)


def briefly(action: Callable[[], T]) -> T:
    """Do `action`, which is short, uncut by a fork, if nobody else holds that off just now."""
    taken = False
    try:
        # The head of a loop is one step for a signal handler, which raises before or after it.
        for taken in map(uncut.acquire, _AT_ONCE):  # noqa: B007
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
