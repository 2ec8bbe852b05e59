"""Which server's tasks run in this thread, and on whose behalf: its chain of calls.

A client that makes a waiting call sends the chain: for each server that has a call under
way which waits for this one, its incarnation and the serial of that call. A server that
finds itself in the chain of a request, with the call that it is running, would wait for
itself, and refuses. Where the waiting begins later than the call (a future's), or the chain
grows meanwhile, the client sends the chain in a question about that call.

::

    client ──► A runs 7 ──► B runs 3 ──► A?   chain: (A, 7) (B, 3): A refuses

Each thread has a record of its own, which that thread alone writes: no lock. It reads all of
it; other threads of the server read `call` and nothing else (`Worker.is_running`, from the
thread that polls; `ServerCore.running`, from any). That is one reference, so they find the call
that runs, or the one before or after it: each asks about a call that it has met elsewhere, in
the queue or as `taken`, and so can't take one for another. A call has a serial from when it is
first needed on, so one without is in no chain. The one thing that another thread
writes is the `chain` of the call that runs, which is one reference too. A signal handler or
``__del__`` that strikes in between reads the record as of the task that it struck.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Protocol

ENTRY = struct.Struct("<16sQ")
"""An entry of a chain: incarnation, and serial of the running call."""

LONGEST_CHAIN = 64 * ENTRY.size
"""Bytes of a chain that grows while its call is under way."""


class Running(Protocol):
    """A call that a server runs."""

    chain: bytes
    """The calls that wait for it. The thread that polls may replace it at any time."""
    serial: int
    """Its number among those of its thread that were given one, from 1 on; 0 before."""


class TaskThread:
    """What a server runs in one thread; the server writes it around each task."""

    __slots__ = ("call", "incarnation", "named", "outer", "pid")

    def __init__(self, incarnation: bytes, outer: TaskThread | None) -> None:
        self.incarnation = incarnation
        self.pid = os.getpid()
        self.outer = outer
        """The server within a task of which this one is served."""
        self.call: Running | None = None
        """The call that runs. Other threads read it."""
        self.named = 0
        """Calls that have a serial, ever."""

    def serial_of(self, call: Running) -> int:
        """The serial of a call that runs in this thread, or began here; called in this thread."""
        if not call.serial:
            self.named += 1
            call.serial = self.named
        return call.serial


TASK_THREADS: dict[int, TaskThread] = {}
"""By thread. A dict's own operations are whole, also without the GIL."""


@contextmanager
def serving(incarnation: bytes) -> Iterator[TaskThread]:
    """Mark this thread as the task thread of the server process `incarnation`."""
    me = get_ident()
    outer = TASK_THREADS.get(me)
    record = TASK_THREADS[me] = TaskThread(incarnation, outer)
    try:
        yield record
    finally:
        if outer is None:
            del TASK_THREADS[me]
        else:
            TASK_THREADS[me] = outer


def is_task_thread() -> bool:
    """Whether this thread runs the tasks of some server."""
    return bool(TASK_THREADS) and get_ident() in TASK_THREADS


def chain() -> bytes:
    """The chain that a waiting call made here carries; empty where no task runs.

    It is that of the running call, with the server's own entry behind it. A forked child
    of a task is another process, for which no server waits.
    """
    if not TASK_THREADS:
        return b""
    record = TASK_THREADS.get(get_ident())
    entries = b""
    while record is not None:
        call = record.call
        if call is not None and record.pid == os.getpid():
            own = ENTRY.pack(record.incarnation, record.serial_of(call))
            entries = call.chain + own + entries
        record = record.outer
    return entries


def serials_in(chain: bytes, incarnation: bytes) -> list[int]:
    """The serials of the calls of server `incarnation` in `chain`.

    Raises `ValueError` for what is no row of entries.
    """
    if len(chain) % ENTRY.size:
        raise ValueError(f"a chain of {len(chain)} bytes is no row of {ENTRY.size}-byte entries")
    return [serial for each, serial in ENTRY.iter_unpack(chain) if each == incarnation]


def is_task_thread_of(incarnation: bytes) -> bool:
    """Whether waiting here for the server `incarnation` would be waiting for oneself.

    A forked child of a task is another process and may wait.
    """
    if not TASK_THREADS:
        return False
    record = TASK_THREADS.get(get_ident())
    return record is not None and (record.incarnation, record.pid) == (incarnation, os.getpid())
