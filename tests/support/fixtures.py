"""Fixtures that several folders of tests have: their conftests import them."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

QUIET_FORKS = ("-W", "ignore:This process (pid=:DeprecationWarning")
"""Options for Python: from 3.12 on it warns at each fork of a program with threads."""


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens, and that the system gives to nobody else meanwhile.

    For that it lies below the range of outgoing connections, and in this worker's part of that.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    while True:
        port = 20000 + 750 * worker + random.randrange(750)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a text as the script of a process in a folder of its own.

    Its arguments are those given; it ends with the test.
    """
    started: list[subprocess.Popen[str]] = []

    def run(text: str, *args: object, **options: Any) -> subprocess.Popen[str]:
        folder = tmp_path / f"script-{len(started)}"
        folder.mkdir()
        path = folder / "script.py"
        path.write_text(text)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(
            [sys.executable, *QUIET_FORKS, str(path), *map(str, args)],
            **{"cwd": folder, "text": True, **streams, **options},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
