"""Standard streams of a server's process, which never stop a task: what can't be written is lost.

A terminal is closed, the reader of a pipe ends, a disk fills up: then the system refuses what is
printed, and `print` raises in the middle of a task, which may have been about to save its state.
A server that has its process to itself prints through these streams instead::

    print, logging ─► TextIOWrapper (of Python's own, in C) ─► DroppingFile ─► descriptor 1 or 2

Nothing is buffered as bytes, so nothing is left that could fail later, and a signal handler may
print while a task does. C code and child processes write to the descriptors by themselves.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from bgpy.system.strikes import is_strike

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_write = io.FileIO.write
"""Gives None where a descriptor that doesn't block takes nothing now."""


class DroppingFile(io.FileIO):
    """Writes to a descriptor, which it doesn't close, and drops what the system refuses."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`, or as much as the system takes; give the length of all of it."""
        try:
            written = _write(self, data)
            if type(data) is bytes and written == len(data):
                return written
            rest = memoryview(data).cast("B")
            while written and len(rest) > written:  # a signal or the end of a disk has cut it short
                rest = rest[written:]
                written = _write(self, rest)
        except OSError as error:
            if is_strike(error):
                raise
        return memoryview(data).nbytes


def keep_from_stopping_tasks() -> None:
    """Have standard output and error of this process drop what can't be written.

    Each keeps its encoding and whether it writes line by line. One that isn't Python's own stays
    as it is, and so does a console of Windows, which isn't written to as a file.
    """
    sys.stdout = sys.__stdout__ = _like(sys.stdout)  # type: ignore[misc, assignment]
    sys.stderr = sys.__stderr__ = _like(sys.stderr)  # type: ignore[misc, assignment]


def standard_stream(
    old: TextIO | None, descriptor: int, by_line: bool, at_once: bool
) -> io.TextIOWrapper:
    """A standard stream in the encoding of `old`, without a buffer of bytes.

    It takes every text, and writes it out line by line, or `at_once`.
    """
    return io.TextIOWrapper(
        DroppingFile(descriptor),
        encoding=getattr(old, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=by_line,
        write_through=at_once,
    )


def _like(old: TextIO) -> TextIO:
    """A stream that drops what can't be written, in the place of `old` if that is Python's own."""
    buffer = getattr(old, "buffer", None)  # none where the process was started without `old`
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED puts nothing between
    if not isinstance(old, io.TextIOWrapper) or type(raw) is not io.FileIO:
        return old
    with suppress(OSError):  # what was printed before any task
        old.flush()
    return standard_stream(old, raw.fileno(), old.line_buffering, old.write_through)
