"""``python -m bgpy.testing.reaper PID START_TIME``: kill that process when the input ends.

The input is a pipe that nobody writes to. It ends when its other end is closed, or when the
process that holds it is gone, for whatever reason.
"""

from __future__ import annotations

import sys

from bgpy.state import records
from bgpy.system.processes import ProcessId


def main(pid: str, start_time: str) -> None:
    """Wait for the end of the input, then kill the process if it still is the one meant."""
    server = ProcessId(int(pid), start_time)
    sys.stdin.buffer.read()
    if not server.is_gone():
        server.kill()
        # Its record would tell of a crash.
        records.forget_killed(server)


if __name__ == "__main__":
    main(*sys.argv[1:])
