"""Processes seen from outside: their cores, their CPU clocks, their memory."""

from __future__ import annotations

import os
import time
from collections.abc import Collection


def pin(pid: int, cores: Collection[int]) -> None:
    """Let all threads of the process run on `cores` only, and those they start."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setaffinity(int(task), cores)
        except ProcessLookupError:
            pass  # a thread that ended meanwhile


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of the process so far, ended ones too, exact to the nanosecond."""
    # Linux makes the id of a process's CPU clock from its pid in this way.
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int, name: str) -> int:
    """Bytes that ``/proc/PID/status`` gives under `name`, such as VmRSS or VmHWM."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0]) * 1024
    raise KeyError(name)


def private_memory(pid: int) -> int:
    """Bytes that the process alone uses, and that its end would give back."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return 1024 * sum(
            int(line.split()[1])
            for line in rollup
            if line.startswith(("Private_Clean:", "Private_Dirty:"))
        )


def forget_peak(pid: int) -> None:
    """Let the peak of the process's memory, VmHWM, begin anew at its present size."""
    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")
