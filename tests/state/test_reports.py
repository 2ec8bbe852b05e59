"""What a log tells of how its server ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy import Client, Handle, ServerGone
from bgpy.state import reports
from bgpy.system.processes import ProcessId
from tests.support.tasks.counting import TASKS

Start = Callable[..., tuple[Handle, Client]]

BEGAN = "(a server begins here)"
"""Stands for the line that `reports.begin` writes."""

MAIN = threading.main_thread().ident

THREAD = f'Thread 0x{7:016x} (most recent call first):\n  File "/b/reactor.py", line 9 in run\n\n'
STACK = (
    f'Current thread 0x{MAIN:016x} (most recent call first):\n  File "/a.py", line 3 in exec_task\n'
)
CRASH = f"Fatal Python error: Segmentation fault\n\n{THREAD}{STACK}"
FORKED = f"Fatal Python error: Segmentation fault\n\n{STACK}"
CHILD = f"Fatal Python error: Aborted\n\n{THREAD}".replace("Thread", "Current thread")
OF_C = """
Current thread's C stack trace (most recent call first):
  Binary file "/usr/bin/python", at _Py_DumpStack+0x1 [0x5]
  <truncated rest of calls>

Extension modules: numpy._core, numpy.linalg (total: 2)
"""
LIMITED = CHILD.replace("Current", "  ...\nCurrent") + "...\n"
SECOND = "2026 ERROR bgpy.server: second signal, SIGTERM: the server ended at once\n"
ON = "printed by a child\n" * 1000
OWN = "2026 WARNING bgpy.server: exec_task raised ValueError\n"
SEGFAULT = "it crashed: Segmentation fault (SIGSEGV)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BEGAN + CRASH, SEGFAULT),
        (BEGAN + FORKED, SEGFAULT),
        (BEGAN + CRASH + OF_C, SEGFAULT),
        (BEGAN + "Fatal Python error: Aborted\n", "it crashed: Aborted (SIGABRT)"),
        (BEGAN + "Fatal Python error: f: no thread\n", "it crashed: f: no thread"),
        ("Windows fatal exception: access violation\r\n", "it crashed: access violation"),
        (CRASH.replace("\n", "\r\n"), SEGFAULT),
        (BEGAN + LIMITED, "it crashed: Aborted (SIGABRT)"),
        (BEGAN + SECOND, "a second signal, SIGTERM, ended it at once"),
        (BEGAN + CRASH + ON, SEGFAULT),
        (BEGAN + CRASH + CHILD + ON, SEGFAULT),
        (BEGAN + CRASH + SECOND, "a second signal, SIGTERM, ended it at once"),
        (BEGAN, None),
        (BEGAN + "a traceback\n", None),
        (CRASH + BEGAN, None),
        ("", None),
        # Of another process, or of one that went on:
        (BEGAN + CHILD, None),
        (BEGAN + CHILD + OF_C, None),
        (BEGAN + LIMITED + ON, None),
        (BEGAN + FORKED + ON, None),
        (BEGAN + "Fatal Python error: printed by a task\n" + ON, None),
        (BEGAN + CRASH + OWN, None),
        (BEGAN + CRASH + ON + OWN + ON, None),
        (CRASH + ON, None),
    ],
)
def test_log_tells_of_an_end_if_a_report_of_it_was_written(
    tmp_path: Path, text: str, told: str | None
) -> None:
    """That of the last server which wrote it, and not of another process or of no end."""
    log = tmp_path / "log"
    before, began, after = text.partition(BEGAN)
    with log.open("wb", buffering=0) as file:
        file.write(before.encode())
        if began:
            reports.begin(file.fileno())
        file.write(after.encode())
    assert reports.end_told_by(str(log)) == told
    line = reports.crash_line(str(log))
    assert (line is not None) is bool(told and "crashed" in told)
    assert line is None or line in log.read_text().splitlines()


def _runs_what_crashes(state: object) -> int:
    code = "import faulthandler; faulthandler.enable(); faulthandler._sigsegv()"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def _is_killed(state: object) -> None:
    ProcessId.of(os.getpid()).kill()


def test_crash_of_a_program_that_a_task_runs_is_not_told_as_the_servers(start: Start) -> None:
    """It has `faulthandler` and writes to the same log; its server is killed later."""
    handle, client = start()
    client.initialize(*TASKS)
    assert client.call({"run": _runs_what_crashes})
    with pytest.raises(ServerGone) as caught:
        client.call({"run": _is_killed}, timeout=30)
    assert handle.log_file is not None
    assert "Fatal Python error" in Path(handle.log_file).read_text("utf-8", "replace")
    assert "crashed:" not in str(caught.value)


def test_log_tells_nothing_where_it_cannot_be_read(tmp_path: Path) -> None:
    """What isn't known is not claimed."""
    assert reports.end_told_by(None) is None
    assert reports.end_told_by(str(tmp_path / "none")) is None
    assert reports.end_told_by(str(tmp_path)) is None


def test_only_a_file_is_told_where_a_server_begins() -> None:
    """A pipe's reader gets what the server prints, and nothing else."""
    read, write = os.pipe()
    reports.begin(write)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b""
