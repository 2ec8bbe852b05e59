"""What is said where a server of this account takes connections and doesn't answer them.

A task in C code that keeps the GIL lets nothing else of its process run, and neither does a process
that is stopped. No request reaches such a server: all that its account can do is wait, or kill it,
for which it needs the pid. That stands in the server's record.
"""

from __future__ import annotations

import os

from bgpy.address import Address
from bgpy.errors import BgpyError, Unreachable
from bgpy.state import traces
from bgpy.system.strikes import is_strike


def hanging(place: Address, error: Unreachable) -> Unreachable:
    """The error, with the process of this account's server there, where one runs."""
    try:
        last = traces.of_last(place)
    except (BgpyError, OSError) as failure:
        if is_strike(failure):
            raise
        return error  # nothing is known here of who doesn't answer
    if last is None or last.record is None or not last.is_alive:
        return error
    pid = last.record.pid
    told = Unreachable(
        error.problem,
        advice=f"a server of this account runs there, process {pid}: a task in C code may keep the "
        f"GIL, or the process is stopped or hangs. Try again later; '{kill_command(pid)}' ends it "
        f"at once, without exit_task; 'bgpy doctor {place}' tells more",
        address=place,
    )
    told.pid, told.log_file = pid, last.log_file
    return told


def kill_command(pid: int) -> str:
    """How a process on this machine is killed, at a command line."""
    return f"taskkill /F /PID {pid}" if os.name == "nt" else f"kill -9 {pid}"
