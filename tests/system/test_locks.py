"""Tests of the lock and the guard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bgpy.system import locks


def test_lock_is_held_when_taken(tmp_path: Path) -> None:
    """A lock excludes a second taker, is seen as held, and is free once let go."""
    path = str(tmp_path / "lock")
    first, second = locks.open_lock(path), locks.open_lock(path)
    assert not locks.is_held(path)
    assert locks.try_lock(first)
    assert not locks.try_lock(second)
    assert locks.is_held(path)
    locks.unlock(first)
    assert not locks.is_held(path)
    assert locks.try_lock(second)
    os.close(first)
    os.close(second)


COUNT = """
import sys
from bgpy.system import locks
for _ in range(200):
    with locks.guarded(sys.argv[1]):
        with open(sys.argv[2]) as file:
            number = int(file.read())
        with open(sys.argv[2], "w") as file:
            file.write(str(number + 1))
"""


def test_guard_lets_one_in_when_many_come(tmp_path: Path) -> None:
    """Processes that change a file under the guard don't get into each other's way."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "guard"), str(counter)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "800"
