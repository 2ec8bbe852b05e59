"""What a forked child has to have of its own.

Of the threads of a process only the one that forked is in the child. A lock that another one held
just then stays locked there for ever, though what it protects may be in use on both sides.
"""

from __future__ import annotations

import os
import threading


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
        self.here = threading.RLock()
