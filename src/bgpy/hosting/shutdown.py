"""What SIGINT and SIGTERM do: the first ends the server in order, the second at once.

::

    signal ─┬─► its Python handler, in the main thread   `handle`: asks the server to end
            └─► its number, in the wake-up descriptor    `seen`: by the thread that polls

Python runs a handler between two of the main thread's instructions. A task that computes in C
for minutes keeps it waiting, but not the number in the wake-up descriptor, which the standby
reads within milliseconds. So what there is to say is said by the thread that polls, and a
second signal ends the process from whichever side learns of it first.

**One signal may come twice.** ``timeout 100 bgpy server`` passes on the Ctrl-C that the terminal
has sent to the whole process group already, and sends a SIGTERM of its own to the process and then
to the group; service managers do the like. Nothing that Python shows tells such a copy from a
second Ctrl-C, except that it follows within milliseconds. So whatever comes within `DOUBLED` of the
first is the first; who is impatient presses again.

**Between the two threads.** `_handled` is written by the main thread alone, `_seen` and
`_said` by the holder of the polling role alone; each reads the other's number only to compare.
The thread that polls learns of a signal when it comes, the handler perhaps minutes later, and of
two as of one. So the handler judges by its own clock only what the other hasn't counted: where a
task has replaced the wake-up descriptor. Which side ends the process is decided by `_end_once`,
which can be taken out once only.
"""

from __future__ import annotations

import _thread
import logging
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Protocol

from bgpy.state.reports import SECOND_SIGNAL
from bgpy.system.exiting import flush
from bgpy.system.latch import Latch
from bgpy.tasks.lifecycle import Kind

log = logging.getLogger("bgpy.server")

LAST_WORDS = 0.5
"""Seconds that a process which ends at once has to write out its last line."""


DOUBLED = 1.0
"""Seconds after the first signal in which others are copies of it: ``timeout`` needs 5 ms, and a
loaded machine more."""


class Ends(Protocol):
    """A server that can be asked to end."""

    @property
    def running(self) -> Kind | None:
        """The kind of the task that runs; None if none does. From any thread."""

    def interrupt(self) -> None:
        """End soon; from a signal handler too."""

    def refuse_new(self) -> None:
        """Reject new requests from now on; in the thread that polls."""

    def change(self, change: Callable[[], None], /) -> None:
        """Have the thread that polls call `change` soon; from a signal handler too."""


@dataclass
class _Count:
    """The signals that one of the two threads has learned of."""

    number: int = 0
    first: float = 0.0

    def is_second(self) -> bool:
        """Count one that comes now; tell whether it is another than the first."""
        now = monotonic()
        self.number += 1
        if self.number == 1:
            self.first = now
        return now - self.first >= DOUBLED


class Shutdown:
    """Counts the signals that a server got, says what each does, and does it."""

    def __init__(self, server: Ends, last: Callable[[str], None]) -> None:
        """`last` is called, with the reason, before the process ends at once.

        It removes the server's files.
        """
        self._server = server
        self._last = last
        self._handled = _Count()
        self._seen = _Count()
        self._said = False
        self._hung_up = False
        self._first = 0
        self._end_once = deque([True])
        self.closing = False
        """Whether all tasks have run, exit_task too."""

    @property
    def asked_by(self) -> str:
        """Who has asked the server to end, for its record; from any thread."""
        if not self._first:
            return "a client asked it to"
        return f"it received {signal.Signals(self._first).name}"

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT or SIGTERM, in the main thread."""
        seen = self._seen.number
        if self._handled.is_second() and self._handled.number > seen:
            self._end(number)
            return
        self._handled.number = max(self._handled.number, seen)  # two may have been handled as one
        self._server.interrupt()
        self._server.change(lambda: self._say(number))

    def hang_up(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGHUP, in the main thread: the terminal is gone, or somebody meant a reload.

        The server ends as at a first SIGTERM. It comes more than once when a terminal closes (from
        the system and from the shell), so it is never the second signal, nor counts as the first.
        """
        if not self._hung_up:
            self._hung_up = True
            self._server.interrupt()
            self._server.change(lambda: self._say(number))

    def seen(self, number: int) -> None:
        """Note a signal's number from the wake-up descriptor; in the thread that polls."""
        if signal.getsignal(number) != self.handle:
            return  # a task's own handler has it
        is_second = self._seen.is_second()
        self._say(number)
        if is_second:
            self._end(number)

    def _say(self, number: int) -> None:
        """Refuse new calls, and say what the first signal does; in the thread that polls."""
        if self._said:
            return
        self._said, self._first = True, number
        self._server.refuse_new()
        name, running = signal.Signals(number).name, self._server.running
        later = f"at least {DOUBLED:g} s"
        again = (
            f"a second SIGINT or SIGTERM, sent {later} after the first, ends it at once"
            if self._hung_up
            else f"a second SIGINT or SIGTERM, {later} later, ends it at once"
        )
        if running is None:
            log.info("%s received: the server ends; %s", name, again)
        elif running is Kind.EXIT:
            log.warning("%s received: exit_task runs, then the server ends; %s", name, again)
        else:
            log.warning(
                "%s received: the server ends when the running task has finished and exit_task "
                "has run; %s, without exit_task",
                name,
                again,
            )

    def _end(self, number: int) -> None:
        """End the process at once; returns if another thread is just doing that."""
        try:
            self._end_once.pop()
        except IndexError:
            return
        try:
            name = signal.Signals(number).name
            self._last(f"by a second signal, {name}")
            _write_in_time(f"{SECOND_SIGNAL}{name}: {self._cut()}")
        finally:
            os._exit(128 + number)

    def _cut(self) -> str:
        """What an end at once costs."""
        if self.closing:
            return "the server ended before its last replies were sent; exit_task had run"
        match self._server.running:
            case None:
                return "the server ended at once; exit_task was skipped"
            case Kind.EXIT:
                return "the server ended at once; exit_task was cut short"
            case _:
                return (
                    "the server ended at once; the running task was cut short and exit_task "
                    "was skipped"
                )


def _write_in_time(text: str) -> None:
    """Log `text` and write out what was printed, for at most `LAST_WORDS` seconds.

    Another thread does it, and not one of `threading`: the thread that was interrupted may
    hold any lock of Python code, or wait for a terminal that takes nothing. Where that keeps
    the log, the line goes straight to standard error.
    """
    written = Latch()

    def write() -> None:
        log.error("%s", text)
        flush()
        written.open()

    _thread.start_new_thread(write, ())
    if written.wait(LAST_WORDS):
        return
    if sys.platform == "win32" or select.select([], [2], [], 0)[1]:
        os.write(2, f"{time.strftime('%F %T')} ERROR bgpy.server: {text}\n".encode())
