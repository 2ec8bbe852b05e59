"""Truths of the process that outlives a test to end its server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bgpy.system.processes import ProcessId
from bgpy.testing import reaper


@pytest.fixture
def process() -> subprocess.Popen[bytes]:
    """A process that lives until it is killed."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


@pytest.fixture
def over() -> tuple[str, str]:
    """A process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = ProcessId.of(process.pid)
    return str(found.pid), found.start_time or ""


def test_reaper_kills_the_process_when_the_test_has_ended(
    process: subprocess.Popen[bytes], over: tuple[str, str]
) -> None:
    """The one with that pid and that start time."""
    found = ProcessId.of(process.pid)
    with process:
        reaper.main(str(found.pid), found.start_time or "", *over)
        assert process.wait(60) != 0


def test_reaper_leaves_another_process_of_that_pid(
    process: subprocess.Popen[bytes], over: tuple[str, str]
) -> None:
    """The system gives pids anew."""
    reaper.main(str(process.pid), "of another one", *over)
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
