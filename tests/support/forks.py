"""A process that forks while another of its threads holds a lock."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

SECONDS = 30
"""After which a child that hangs is ended by its own alarm."""


def forked_while_held(
    lock: AbstractContextManager[object], work: Callable[[], object]
) -> int:  # pragma: no cover - its child's lines are nobody's
    """Do `work` in a forked child, while a thread of the parent holds `lock`; the exit code.

    It is 0 if the work was done, 1 if it raised, and negative if it hung.
    """
    assert sys.platform != "win32", "Windows has no fork"
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(SECONDS)
    try:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(SECONDS)
                work()
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        done.set()
        holder.join()
