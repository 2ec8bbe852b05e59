"""What a fork waits for: work that must not be cut in two.

A forked child has the thread that forked and no other, but all locks as they were: one that
another thread held is never released there. bgpy's own are renewed in the child
(`bgpy.system`); those of other libraries can't be: Python's, one for each module while it is
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
