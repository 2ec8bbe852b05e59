"""What a log tells of how its server ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bgpy.state import reports

BEGAN = "(a server begins here)"
"""Stands for the line that `reports.begin` writes."""

CRASH = (
    "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00 (most recent call first):\n"
    '  File "/me/tasks.py", line 3 in exec_task\n'
)
SECOND = "2026 ERROR bgpy.server: second signal, SIGTERM: the server ended at once\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BEGAN + CRASH, "it crashed: Segmentation fault (SIGSEGV)"),
        (BEGAN + "Fatal Python error: Aborted\n", "it crashed: Aborted (SIGABRT)"),
        (BEGAN + "Fatal Python error: f: no thread\n", "it crashed: f: no thread"),
        ("Windows fatal exception: access violation\r\n", "it crashed: access violation"),
        (BEGAN + SECOND, "a second signal, SIGTERM, ended it at once"),
        (BEGAN + CRASH + "printed by a child\n" * 1000, "it crashed: Segmentation fault (SIGSEGV)"),
        (BEGAN + CRASH + SECOND, "a second signal, SIGTERM, ended it at once"),
        (BEGAN, None),
        (BEGAN + "a traceback\n", None),
        (CRASH + BEGAN, None),
        ("", None),
    ],
)
def test_log_tells_of_an_end_if_a_report_of_it_was_written(
    tmp_path: Path, text: str, told: str | None
) -> None:
    """That of the last server which wrote it, however much others write on."""
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
