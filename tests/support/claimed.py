"""A server's folder as this process, or another one, claims it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bgpy.address import Address
from bgpy.state.records import Record
from bgpy.system import processes

ADDRESS = Address("127.0.0.1", 54321)


def own_record(pid: int | None = None) -> Record:
    """The record of a server that this process, or `pid`, would be."""
    pid = pid or os.getpid()
    start = processes.start_time(pid)
    assert start is not None
    return Record(*ADDRESS, pid, start, processes.boot_id().hex(), "3.11", "1.0", "ab", "/log")


SERVER = """
import os, sys
from bgpy.state import folders
from bgpy.system import processes
from bgpy.state import claims, records
pid = os.getpid()
claim = claims.claim({address})
start = processes.start_time(pid)
record = records.Record(*{address}, pid, start, processes.boot_id().hex(), "3", "1", "00")
claim.write(record, "of another process")
print("claimed", flush=True)
{then}
sys.stdin.read()
"""


@contextmanager
def server(then: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that claims the address, and does `then`."""
    text = SERVER.format(address=tuple(ADDRESS), then=then)
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().rstrip() == b"claimed"
        yield process
        process.kill()
