"""Two checkouts against each other: the table, and the command with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compare import environment, table
from benchmarks.harness.results import Results

ROOT = Path(__file__).parents[2]


def test_ratio_reads_after_over_before() -> None:
    """In the units of its row; rows that were not measured are left out."""
    results = Results()
    for turn, (before, after) in enumerate([(30e-6, 36e-6), (20e-6, 22e-6), (40e-6, 52e-6)]):
        results.add("call.pinned.median", "before", turn, before)
        results.add("call.pinned.median", "after", turn, after)
    assert table(results).rows == [
        ["small call, median, µs", "30.0", "36.0", "1.200", "1.100 – 1.300"]
    ]


def test_folder_without_bgpy_is_refused(tmp_path: Path) -> None:
    """Rather than that the installed one is measured twice."""
    with pytest.raises(SystemExit, match="holds no bgpy"):
        environment(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="pins processes to cores")
def test_command_measures_both_checkouts() -> None:
    """Here the same one twice, shortly."""
    command = [sys.executable, "-m", "benchmarks.compare", ".", "src", "--rounds", "1"]
    ran = subprocess.run(
        [*command, "--seconds", "0.02", "--no-crowd", "--idle", "300"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    rows = {line.split("  ")[0] for line in ran.stdout.splitlines()}
    assert rows >= {
        "small call, median, µs",
        "CPU time per small call, both sides, µs",
        "pipelined, thousand calls a second",
        "connect and first call, µs",
        "an idle client, bytes of the server's memory",
    }
