"""Truths of the process that outlives a test to end its server."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

from bgpy.system.processes import ProcessId
from bgpy.testing import reaper


@pytest.fixture
def process() -> subprocess.Popen[bytes]:
    """A process that lives until it is killed."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_reaper_kills_the_process_when_its_input_ends(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one with that pid and that start time."""
    found = ProcessId.of(process.pid)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    with process:
        reaper.main(str(found.pid), found.start_time or "")
        assert process.wait(60) != 0


def test_reaper_leaves_another_process_of_that_pid(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system gives pids anew."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    reaper.main(str(process.pid), "of another one")
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
