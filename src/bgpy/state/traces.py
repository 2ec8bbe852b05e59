"""What is known of the last server of this account at an address, where none answers now.

From its record and its log. ``bgpy doctor`` shows all of it, `NotRunning` the reason and where to
read on.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from bgpy.address import Address, wildcards
from bgpy.state import folders, records, reports
from bgpy.state.records import Record
from bgpy.system import files
from bgpy.system.strikes import is_strike

LINE = 400
"""Bytes at most that are quoted from the end of a log."""


class Traces(NamedTuple):
    """Of one server."""

    written: float
    """When its log was written last, in seconds since the epoch."""
    there: Address
    """Its own address, which may stand for several."""
    record: Record | None
    is_alive: bool
    """Whether its process runs."""
    log_file: str | None
    line: str
    """The line of its log that says most: the one that names a crash, else the last one."""

    def fate(self) -> str:
        """What became of it, or what it is doing, for people."""
        if self.record is None:
            told = reports.end_told_by(self.log_file)
            return f"its log says that {told}" if told else "it left no word of how it ended"
        if self.is_alive:
            return f"process {self.record.pid} still runs: it is just starting, or ending"
        told = None if self.record.ended else reports.end_told_by(self.log_file)
        return f"{self.record.fate()}{f' (its log says that {told})' if told else ''}"


def of_last(place: Address) -> Traces | None:
    """The traces of the last server at `place`, or of one on all interfaces; None if none is known.

    Raises `StartupError` as `records.find`.
    """
    left = [traces for there in (place, *wildcards(place)) if (traces := _at(there))]
    return max(left, key=lambda each: (each.is_alive, each.written)) if left else None


def _at(there: Address) -> Traces | None:
    """The traces of the last server at exactly that address."""
    alive = records.find(there)
    record = alive or records.find_ended(there)
    logs = [place.log for place in folders.places(*there)]
    newest = max(logs, key=lambda path: _last_line(path)[0])
    log_file = newest if record is None else record.log_file
    when, line = _last_line(log_file)
    if record is None and not line:
        return None
    # Not as its cause of death: a crash may leave no line, and this one be about another call.
    told_itself = record is not None and bool(record.ended)
    crash = None if told_itself or alive else reports.crash_line(log_file)
    return Traces(when, there, record, alive is not None, log_file, crash or line)


def _last_line(log_file: str | None) -> tuple[float, str]:
    """When a log was written last, and its last line, as far as it fits; empty without one."""
    if log_file is None:
        return 0.0, ""
    try:
        with files.open_regular(log_file) as log:
            status = os.fstat(log.fileno())
            log.seek(max(0, status.st_size - LINE))
            lines = (log.read(LINE) or b"").decode(errors="replace").split("\n")
    except OSError as error:
        if is_strike(error):
            raise
        return 0.0, ""
    written = [line.strip() for line in lines if line.strip()]
    line = written[-1] if written else ""
    return status.st_mtime, "".join(c if c.isprintable() else "?" for c in line)
