"""What a fork must not cut in two: it waits for such work, or the child has a lock of its own.

A forked child has the thread that forked and no other, but all locks as they were: one that
another thread held is never released there. bgpy's own are renewed in the child (`OwnLock`);
those of other libraries can't be: Python's, one for each module while it is
imported (`bgpy.late`), and OpenSSL's, under which it looks for an algorithm (`bgpy.digests`,
`bgpy.tls`). It also has a copy of each descriptor, and has to know those that it must close
(`bgpy.system.locks`). So such work is done while `uncut` is held, and ``fork`` takes that
first: it waits until the work has ended, and the child finds all whole.

It is reentrant, because the thread that holds it may itself fork, in what a signal handler or
the collector runs. The functions that ``fork`` calls are those of the lock, in C: no handler
runs inside of them, so none can leave it held; all others hold it by ``with``. It is held for
some computing or an import, never for what a peer sends, and no code of bgpy takes another
lock under it: who waits for it waits for nothing else.
"""

from __future__ import annotations

import os
from threading import RLock

uncut = RLock()

if hasattr(os, "register_at_fork"):
    # In the child as well: the thread that forked holds the lock there.
    os.register_at_fork(
        before=uncut.acquire, after_in_parent=uncut.release, after_in_child=uncut.release
    )


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
