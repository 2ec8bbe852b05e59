"""SIGINT and SIGTERM while a server runs in the main thread: once to end, twice at once.

They are the server's for as long as it serves. A task may use signals as it likes, also
`asyncio.run` with handlers of its own: SIGINT, SIGTERM and the wake-up descriptor are put
back after each task, so what a task sets for these two holds until it returns, also in
`init_task`. What must happen at the end belongs into `exit_task`.

All other signals are the user's. Their handlers run in the task thread, wherever it is: what
they raise within a task is the task's exception; what they raise anywhere else, while the
server waits, reads, or answers, belongs to nobody. So a handler that a task has left behind
is put into a `Guard`, which logs that instead of letting it strike the server. What is struck
before the guard is there is put right by whoever is struck (`bgpy.serving.worker`).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

from bgpy.system.exiting import leave
from bgpy.tasks.interrupts import Place, held, place_of

log = logging.getLogger("bgpy.server")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LOOK = 0.0005
"""Seconds between two looks at the wake-up descriptor and the other signals' handlers: each
takes 4 µs. Whoever changes the descriptor runs an event loop, which takes as long."""

# Without the wrapper that tries to make enums of what it returns: 0.05 µs instead of 2.
_get_handler: Callable[[int], Any] = getattr(
    sys.modules.get("_signal"), "getsignal", signal.getsignal
)


_INT, _TERM = (int(number) for number in _SIGNALS)
_OTHERS = sorted(int(number) for number in signal.valid_signals() - set(_SIGNALS))


Handler = Callable[[int, FrameType | None], Any]


class Guard:
    """A handler of the user's, whose exceptions reach tasks only.

    It may itself be struck, by another signal whose handler is guarded as well: nothing gets
    out of either.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        """The user's own."""
        self._logged = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        """Call the handler; raises what it raises if `frame` is a task's.

        While the task responds that is held until it has: half an answer helps nobody.
        """
        place = place_of(frame)
        if place is Place.TASK:
            return self.handler(number, frame)
        try:
            return self.handler(number, frame)
        except BaseException as error:
            if place is Place.RESPONDING:
                held.append(error)
            elif monotonic() - self._logged >= 1.0:  # a timer's would fill the log
                self._logged = monotonic()
                name = signal.Signals(number).name
                log.error("the handler of %s raised, and no task was running", name, exc_info=error)
        return None


class Kept:
    """The handlers and the wake-up descriptor of a server, put back after each task.

    Python's own handlers run in the main thread only, which is the task thread where a
    server has any: no lock is needed. Where an exception strikes `put_back` the next call of
    it does what was left.
    """

    def __init__(self) -> None:
        self._handle: Callable[[int, FrameType | None], None] | None = None
        self._wakeup_fd = -1
        self._looked = 0.0
        self._mask: set[Any] | None = None

    def put_back(self) -> None:
        """Put back what the task that has run may have changed."""
        handle = self._handle
        if handle is None:
            return
        if held:
            log.error("a signal handler raised, and its task has ended", exc_info=held.pop())
        now = monotonic()
        if _get_handler(_INT) is not handle or _get_handler(_TERM) is not handle:
            for number in _SIGNALS:
                signal.signal(number, handle)
        elif now - self._looked < LOOK:
            return
        self._looked = now
        signal.set_wakeup_fd(self._wakeup_fd, warn_on_full_buffer=False)
        self._guard()

    def _guard(self) -> None:
        """Put handlers that the server hasn't seen yet into guards."""
        for number in _OTHERS:
            handler = _get_handler(number)
            if callable(handler) and type(handler) is not Guard:
                signal.signal(number, Guard(handler))

    def _bare(self) -> None:
        """Take the handlers of the user's out of their guards."""
        for number in _OTHERS:
            handler = _get_handler(number)
            if type(handler) is Guard:
                signal.signal(number, handler.handler)

    @contextmanager
    def ending(
        self, interrupt: Callable[[], None], wakeup_fd: int, last: Callable[[], None]
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
        self._handle, self._wakeup_fd = handle, wakeup_fd
        self._guard()
        try:
            yield
        finally:
            self._handle = None
            self._bare()
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._let_through()

    def hold_back(self) -> None:
        """Keep all signals but the server's from this thread until `ending` is left.

        Called when the last task has run: a timer that it has left behind would raise in the
        middle of closing. What comes meanwhile is taken afterwards.
        """
        if sys.platform != "win32" and self._handle is not None:
            others = signal.valid_signals() - set(_SIGNALS)
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, others)

    def _let_through(self) -> None:
        if sys.platform != "win32" and self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def restore_in_child() -> None:
    """In a forked child of a task: a signal ends it as it would any process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
