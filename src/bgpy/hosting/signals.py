"""SIGINT and SIGTERM while a server runs in the main thread: once to end, twice at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bgpy.system.exiting import leave

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending(
    interrupt: Callable[[], None], wakeup_fd: int, last: Callable[[], None]
) -> Iterator[None]:
    """Call `interrupt` at the first signal; at the second call `last` and exit at once.

    Does nothing outside the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            try:
                last()
            finally:
                leave(128 + number)
        asked = True
        interrupt()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    wakeup_before = signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)


def restore_in_child() -> None:
    """In a forked child of a task: a signal ends it as it would any process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
