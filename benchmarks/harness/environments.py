"""Which interpreter runs which peer, and whether the peer is installed there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[2]
LOOK = "import importlib.metadata, sys; importlib.metadata.distribution(sys.argv[1])"


def python(name: str) -> str:
    """The interpreter of the peer's environment; `make bench-peers` makes those beside the run's.

    What each of them holds stands in ``benchmarks/environments``.
    """
    environment = PEERS[name].environment
    if not environment:
        return sys.executable
    return str(ROOT / f".venv-bench-{environment}" / "bin" / "python")


def is_installed(name: str) -> bool:
    """Whether the peer can be measured."""
    package = PEERS[name].package
    interpreter = python(name)
    if not Path(interpreter).exists():
        return False
    if package is None:
        return True
    return not subprocess.run(
        [interpreter, "-c", LOOK, package], stderr=subprocess.DEVNULL
    ).returncode
