"""What a start asks of Windows, shown on any system with a process that isn't made."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest

from bgpy.process import launch

NO_WINDOW, NEW_GROUP, BREAKAWAY = 0x08000000, 0x00000200, 0x01000000


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The creation flags of each process that was asked for, on what seems to be Windows."""
    flags: list[int] = []

    def popen(command: list[str], *, creationflags: int, **options: Any) -> str:
        flags.append(creationflags)
        if creationflags & BREAKAWAY and popen.job_is_closed:  # type: ignore[attr-defined]
            raise PermissionError("access is denied")
        return "a process"

    popen.job_is_closed = False  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", NO_WINDOW, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", NEW_GROUP, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_BREAKAWAY_FROM_JOB", BREAKAWAY, raising=False)
    return flags


def test_start_leaves_window_group_and_job_when_on_windows(asked: list[int]) -> None:
    """No console window, no Ctrl-C of the starter's group, no end with the starter's job."""
    assert launch._popen(["python"], io.BytesIO()) == "a process"
    assert asked == [NO_WINDOW | NEW_GROUP | BREAKAWAY]


def test_start_warns_when_the_job_can_not_be_left(asked: list[int]) -> None:
    """The server starts all the same, and its user hears that it may end with the job."""
    subprocess.Popen.job_is_closed = True  # type: ignore[attr-defined]
    with pytest.warns(RuntimeWarning, match="may end together with that job"):
        assert launch._popen(["python"], io.BytesIO()) == "a process"
    assert asked == [NO_WINDOW | NEW_GROUP | BREAKAWAY, NO_WINDOW | NEW_GROUP]
