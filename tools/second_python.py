"""Runs the tests that depend on Python's version most on a second one: ``make test-second``.

The second Python is the newest other one of this machine that bgpy promises to run on. Where there
is none, or the packages that the tests need can't be installed for it (without a network, for
example), this says so and succeeds: it is no fault of the change that is tested.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tools.other_pythons import kind_of, others  # noqa: E402

TESTS = " ".join(
    [
        "tests/test_covered.py",
        "tests/codec",
        "tests/process",
        "tests/serving",
        "tests/calling/blocking",
        "tests/api/test_calls.py",
        "tests/api/test_errors.py",
        "tests/api/test_functions_by_value.py",
        "tests/api/test_interrupted_threads.py",
    ]
)
"""Bytecode, exceptions, locks and processes, in a minute or two; the workflow runs all."""

# Without a network pip would try each of its requests for minutes.
IMPATIENT = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "30"}

Make = Callable[[list[str], Mapping[str, str]], int]
"""Runs make with these arguments and additions to the environment; what it exits with."""


def promised() -> set[tuple[int, int]]:
    """The versions of the package's classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [each.rpartition(" :: ")[2].split(".") for each in project["classifiers"]]
    return {(3, int(each[1])) for each in versions if each[0] == "3" and len(each) == 2}


def second(commands: list[str]) -> str | None:
    """The first of them that bgpy promises to run on, with its GIL."""
    for command in commands:
        kind = kind_of(command)
        if kind is not None and kind[:2] in promised() and not kind[2]:
            return command
    return None


def _make(arguments: list[str], environment: Mapping[str, str]) -> int:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env={**os.environ, **environment}, check=False
    ).returncode


def main(commands: list[str], make: Make = _make) -> int:
    """Run them; what the process exits with."""
    python = second(commands)
    if python is None:
        print("No second Python: this machine has none that bgpy promises (BGPY_PYTHONS names one)")
        return 0
    if make([f"PYTHON={python}", "environment"], IMPATIENT):
        print(f"No second Python: what the tests need can't be installed for {python} here")
        return 0
    print(f"The second Python is {python}", flush=True)
    return make([f"PYTHON={python}", "test", f"TESTS={TESTS}"], {})


if __name__ == "__main__":
    sys.exit(main(others()))
