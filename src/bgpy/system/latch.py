"""A latch: one thread waits at it, another opens it."""

from __future__ import annotations

import threading

from bgpy.system.strikes import is_strike


class Latch:
    """Lets one waiter through for each time it was opened while closed; it is made closed.

    A C lock is all there is: `open` may be called from a signal handler or a ``__del__``,
    whatever its thread is in the middle of, and may be repeated where it was interrupted.
    Opening an open latch changes nothing, so a wake-up is never lost and never counted
    twice: a thread that was woken checks again for what it waits for.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float = -1) -> bool:
        """Wait until it is open, at most `timeout` seconds (-1: for ever), and close it.

        Tells whether it was open.
        """
        return self._lock.acquire(timeout=timeout)

    def open(self) -> None:
        """Let one waiter through: one that waits now, or the next to come."""
        try:
            self._lock.release()
        except RuntimeError as error:
            if is_strike(error):
                raise
            # Else it is open already.
