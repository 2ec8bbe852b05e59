"""``python -m bgpy.testing.reaper SERVER ITS_START TEST ITS_START``: end a server after its test.

It waits for the end of the test's process, and kills the server then. No pipe tells it of that
end: whatever the test has forked would hold a copy of it. A test that has ended its server kills
this process.
"""

from __future__ import annotations

import sys

from bgpy.state import records
from bgpy.system.processes import ProcessId


def main(pid: str, start_time: str, test_pid: str, test_start_time: str) -> None:
    """Wait until the test's process is gone, then kill the server if it still is the one meant."""
    ProcessId(int(test_pid), test_start_time).wait()
    server = ProcessId(int(pid), start_time)
    if not server.is_gone():
        server.kill()
        # Else its record would tell of a crash.
        records.put_away(server, "was killed", "the test that it was started for had ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
