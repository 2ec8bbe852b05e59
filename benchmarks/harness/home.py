"""Where a run takes place: a state folder of its own, and as many files as the system allows."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

SPARE = 200
"""File descriptors beyond those of the clients."""


def say(text: str) -> None:
    """Tell how far the run is."""
    print(text, file=sys.stderr, flush=True)


def need_linux() -> None:
    """End this program on other systems."""
    if not sys.platform.startswith("linux"):
        sys.exit("the benchmarks need Linux: they pin processes and read their CPU clocks")


def open_files(wanted: int) -> int:
    """Let this process and its children open as many files as they may; gives what that allows."""
    import resource  # Windows has none, and loads this file for the tests of others

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - SPARE)


@contextmanager
def home(say: Callable[[str], None]) -> Iterator[str]:
    """A state folder of the run's own; what still runs there in the end is killed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["BGPY_HOME"] = folder
        os.environ.pop("BGPY_TOKEN", None)
        try:
            yield folder
        finally:
            for each in psutil.process_iter():
                if each.pid != os.getpid() and _runs_in(each, folder):
                    say(f"killed a process that was left: {each}")
                    each.kill()


def _runs_in(each: psutil.Process, folder: str) -> bool:
    try:
        return each.environ().get("BGPY_HOME") == folder
    except psutil.Error:
        return False
