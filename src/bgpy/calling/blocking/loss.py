"""What a client can say of a connection that ended without a goodbye.

Where client and server share a machine, the server's process is asked whether it is gone, and
its record where its log is. A crash closes the connection a moment before the process is
gone, so that moment is waited for: who restarts a server that is no longer alive must find
it so when the error comes.
"""

from __future__ import annotations

from contextlib import suppress

from bgpy.address import Address
from bgpy.calling.conversation import Known
from bgpy.state import records, reports
from bgpy.system.processes import ProcessId

MOMENT = 0.2
"""Seconds that a process has to be gone after its connection has ended without a word."""

OWN = Known(
    advice="closing the client did not end the server; wait for the answers before closing it"
)
"""Of a connection that this side has closed while calls were under way."""


def learn(
    reason: str, process: ProcessId | None, address: Address, incarnation: bytes
) -> tuple[str, Known]:
    """The reason, and what else is known; called with no lock held, as it may take a `MOMENT`."""
    known = Known(address=str(address))
    doctor = f"'bgpy doctor {address}' tells what is known of its end"
    if process is None:
        return reason, known
    known = known._replace(pid=process.pid, log_file=_log_file(address, incarnation))
    if not process.wait(MOMENT):
        return reason, known
    told = reports.end_told_by(known.log_file)
    cause = f"its log says that {told}" if told else "cause unknown (killed, or exited by itself)"
    if known.log_file is None:
        advice = f"start the server again; {doctor}"
    else:
        advice = f"look into its log ({known.log_file}), and start the server again"
    reason = f"the server's process (pid {process.pid}) is gone, {cause}"
    return reason, known._replace(advice=advice)


def _log_file(address: Address, incarnation: bytes) -> str | None:
    """The path of that server's log; None where nothing here tells."""
    with suppress(Exception):  # at the program's end, or without a home: it is only the path
        record = records.written_by(incarnation, address)
        if record is not None:
            return record.log_file
    return None
