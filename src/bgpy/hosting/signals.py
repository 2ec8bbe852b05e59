"""Signals while a server runs in the main thread: whose handlers hold when.

The server owns SIGINT and SIGTERM while it serves, and has a first handler of SIGHUP;
`bgpy.hosting.shutdown` says what they do.
A task may set handlers of its own, also through
`asyncio.run`; they hold until the task returns, then the server restores SIGINT, SIGTERM and
the wake-up descriptor, also after `init_task`. Clean-up at the end belongs in `exit_task`.

All other signals are the user's. Their handlers run in the task thread, wherever it is: what
they raise within a task is the task's exception; what they raise elsewhere, while the server
waits, reads or answers, has no task to go to. So the server wraps a handler that a task left
behind in a `Guard`, which logs such an exception instead of letting it interrupt the server.
Code that is interrupted before the guard is in place recovers by itself (`bgpy.serving.worker`).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_
from time import monotonic
from types import FrameType
from typing import Any

from bgpy.system.exiting import leave_child
from bgpy.system.strikes import is_strike_amid
from bgpy.tasks.interrupts import Place, held, place_of

log = logging.getLogger("bgpy.server")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LOOK = 0.001
"""Seconds between two checks of the wake-up descriptor and the other signals' handlers; a
check takes 3 µs. A task that changes the descriptor runs an event loop, which takes longer."""

# Without the wrapper that tries to make enums of what it returns: 0.05 µs instead of 2.
_get_handler: Callable[[int], Any] = getattr(
    sys.modules.get("_signal"), "getsignal", signal.getsignal
)


_INT, _TERM = (int(number) for number in _SIGNALS)
_OTHERS = sorted(int(number) for number in signal.valid_signals() - set(_SIGNALS))


_HANGUP = int(getattr(signal, "SIGHUP", 0))
"""0 on Windows, which has none."""


Handler = Callable[[int, FrameType | None], Any]


class Guard:
    """Wraps a handler of the user's so that its exceptions reach tasks only.

    Another signal may interrupt it; that one's handler is guarded too, so no exception
    escapes from either.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        """The user's own."""
        self._pid = os.getpid()
        self._logged = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        """Call the handler; raise what it raises if `frame` belongs to a task.

        If the task is just sending a response, the exception is held until it has been sent.
        A child that the handler forks while no task runs ends with it: in the server's own code it
        would wait for what threads hold that it doesn't have.
        """
        place, pid = place_of(frame), os.getpid()
        if place is Place.TASK or pid != self._pid:
            return self.handler(number, frame)
        try:
            returned = self.handler(number, frame)
        except BaseException as error:
            if os.getpid() != pid:
                leave_child(error)
            if place is Place.RESPONDING:
                held.append(error)
            elif monotonic() - self._logged >= 1.0:  # a timer's would fill the log
                self._logged = monotonic()
                name = signal.Signals(number).name
                log.error(
                    "the handler of %s raised while no task was running", name, exc_info=error
                )
            return None
        if place is Place.OUTSIDE and os.getpid() != pid:
            leave_child(None)
        return returned


class Own(Guard):
    """The server's first handler of SIGHUP: forked children and the end take it away."""


class Kept:
    """The handlers and the wake-up descriptor of a server, restored after each task.

    Python's own handlers run in the main thread only, which is the task thread where a
    server has any: no lock is needed. Where an exception strikes `put_back` the next call of
    it does what was left.
    """

    def __init__(self) -> None:
        self._handle: Handler | None = None
        self._wakeup_fd = -1
        self._look_at = 0.0
        self._guarded: list[Any] = []
        """The handlers of `_OTHERS` as they were left when all had been guarded."""
        self._mask: set[Any] | None = None

    def put_back(self, more: object = None) -> None:
        """Restore what the last task may have changed, and write out what it has begun to print.

        Where `more` tasks follow at once, which came together, what can wait for them does.
        """
        if more:
            if not _get_handler(_INT) is self._handle is _get_handler(_TERM) or held:
                self._look()
            return
        try:
            flush = sys.__stdout__.flush  # type: ignore[union-attr]
            flush()
        except (AttributeError, OSError, ValueError) as error:
            # There is none, no room for it, or a task has closed it.
            if is_strike_amid(error):
                raise
        if (
            monotonic() < self._look_at
            and _get_handler(_INT) is self._handle is _get_handler(_TERM)
            and not held
        ):
            return
        self._look()

    def _look(self) -> None:
        """See to all that a task may have changed."""
        handle = self._handle
        if handle is None:
            return
        if held:
            log.error("a signal handler raised, but its task had ended", exc_info=held.pop())
        if not _get_handler(_INT) is handle is _get_handler(_TERM):
            for number in _SIGNALS:
                signal.signal(number, handle)
        self._look_at = monotonic() + LOOK
        signal.set_wakeup_fd(self._wakeup_fd, warn_on_full_buffer=False)
        # Looked at in C: this is done a thousand times a second, and hardly ever finds any.
        if not all(map(is_, map(_get_handler, _OTHERS), self._guarded)):
            self._guard()

    def _guard(self) -> None:
        """Put handlers that the server hasn't seen yet into guards."""
        guarded = []
        for number in _OTHERS:
            handler = _get_handler(number)
            if callable(handler) and not isinstance(handler, Guard):
                handler = Guard(handler)
                signal.signal(number, handler)
            # What was meant to be there: another that is set meanwhile is found by the next look.
            guarded.append(handler)
        self._guarded = guarded

    def _bare(self) -> None:
        """Take the handlers of the user's out of their guards."""
        for number in _OTHERS:
            handler = _get_handler(number)
            if type(handler) is Guard:
                signal.signal(number, handler.handler)

    @contextmanager
    def handling(self, handle: Handler, hang_up: Handler, wakeup_fd: int) -> Iterator[None]:
        """Have `handle` handle SIGINT and SIGTERM, and their numbers go to `wakeup_fd`.

        `hang_up` handles SIGHUP, unless that is ignored (``nohup``) or has a handler of the user's;
        a task may give it another one, as any signal but these two.
        Does nothing outside the main thread, where Python takes no signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        wakeup_before = signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
        self._handle, self._wakeup_fd = handle, wakeup_fd
        hangs_up = _HANGUP and _get_handler(_HANGUP) == signal.SIG_DFL
        if hangs_up:
            signal.signal(_HANGUP, Own(hang_up))
        self._guard()
        try:
            yield
        finally:
            self._handle = None
            self._bare()
            if hangs_up and type(_get_handler(_HANGUP)) is Own:
                signal.signal(_HANGUP, signal.SIG_DFL)
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._let_through()

    def hold_back(self) -> None:
        """Block all signals but the server's in this thread until `handling` is left.

        Called when the last task has run: a timer that it left behind would raise in the
        middle of closing. Signals that arrive meanwhile are delivered afterwards.
        """
        if sys.platform != "win32" and self._handle is not None:
            others = signal.valid_signals() - set(_SIGNALS)
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, others)

    def _let_through(self) -> None:
        if sys.platform != "win32" and self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def as_after_login() -> None:
    """Unblock all signals, and ignore none that this process inherited as ignored.

    For a server that has this process to itself; one in the background is started so
    (`bgpy.process.bootstrap`). SIGHUP stays as it is: ``nohup`` means it.
    """
    if sys.platform == "win32":
        return
    for number in set(_OTHERS) - {_HANGUP, signal.SIGPIPE, signal.SIGXFSZ}:
        if _get_handler(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def restore_in_child() -> None:
    """In a forked child of a task: restore Python's default handlers."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _HANGUP and type(_get_handler(_HANGUP)) is Own:
        signal.signal(_HANGUP, signal.SIG_DFL)
