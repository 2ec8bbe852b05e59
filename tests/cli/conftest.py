"""What tests of the command line have: the command in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support.command import COMMAND
from tests.support.fixtures import free_port, script

__all__ = ["free_port", "script"]


Run = Callable[..., "subprocess.CompletedProcess[str]"]
Serve = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def bgpy() -> Run:
    """Run ``bgpy`` with some arguments to its end."""

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    return run


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Run ``bgpy server HOST PORT`` with options; it listens then, and is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def serve(port: int, *options: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "server", "127.0.0.1", str(port), *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"listening on 127.0.0.1:{port}" in line, line + process.stderr.read()
        return process

    yield serve
    for process in started:
        process.kill()
        process.communicate()
