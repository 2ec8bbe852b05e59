"""Times of whole programs: short ones, and servers from their start to the first reply."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.harness.environments import python
from benchmarks.harness.results import Results

PATIENCE = 90.0
"""Seconds after which a program counts as hung."""
VARIANTS = {
    "bgpy": {"bgpy": "", "bgpy, by value": "value"},
    "managers": {"managers": "fork", "managers, spawn": "spawn"},
}
"""Of a peer that starts in several ways, the name of each figure and the way."""


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Run all on the last of `cores`, as programs inherit it."""
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def short(results: Results, turn: int, count: int) -> None:
    """Times of short programs that do nothing or import bgpy, of `count` runs each."""
    own = sys.executable
    commands = {
        "bare": [own, "-c", "pass"],
        "import": [own, "-c", "import bgpy"],
        "names": [own, "-c", "from bgpy import Client, Server, respond"],
        "version": [str(Path(own).parent / "bgpy"), "version"],
    }
    for name, command in commands.items():
        times = [_seconds(command) for _ in range(count)]
        results.add(f"program.{name}", "bgpy", turn, statistics.median_low(times))


def starts(results: Results, turn: int, peers: Iterable[str]) -> None:
    """From the order to start a peer's server to its first reply."""
    for peer in peers:
        for name, variant in VARIANTS.get(peer, {peer: ""}).items():
            command = [python(peer), "-m", "benchmarks.harness.startup", peer, variant]
            try:
                results.add("start", name, turn, json.loads(_output(command))["seconds"])
            except (subprocess.SubprocessError, ValueError):
                results.note(f"Starting {name} failed.")


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    return time.perf_counter() - start


def _output(command: list[str]) -> bytes:
    done = subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
    )
    return done.stdout
