"""What contributors use: other Pythons are found, and the targets take them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools.other_pythons import kind_of, others

ROOT = Path(__file__).parents[1]

posix_only = pytest.mark.skipif(os.name != "posix", reason="make and shell scripts of POSIX")


def _fake(folder: Path, name: str, told: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {told}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_kind_of_tells_this_python() -> None:
    """Version, and whether it has a GIL to do without."""
    free = bool(getattr(sys, "abiflags", "").count("t"))
    assert kind_of(sys.executable) == (*sys.version_info[:2], free)


@posix_only
def test_others_are_those_that_bgpy_supports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each version, the newest first, those that the user names before others."""
    own = f"cpython {sys.version_info[0]} {sys.version_info[1]} 0"
    named = [
        _fake(tmp_path, "old", "cpython 3 10 0"),
        _fake(tmp_path, "fast", "pypy 3 11 0"),
        _fake(tmp_path, "own", own),
        _fake(tmp_path, "new", "cpython 3 98 0"),
        _fake(tmp_path, "again", "cpython 3 98 0"),
        _fake(tmp_path, "free", "cpython 3 98 1"),
        _fake(tmp_path, "silent", "''"),
        str(tmp_path / "none"),
    ]
    monkeypatch.setenv("BGPY_PYTHONS", os.pathsep.join(named))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", "/nowhere")
    assert others(named[2]) == [named[5], named[3]]


@posix_only
@pytest.mark.parametrize(
    ("python", "environment"),
    [("python3", ".venv/"), ("/opt/x/bin/python3.13t", ".venv-python3.13t/")],
)
def test_make_gives_another_python_an_environment_of_its_own(python: str, environment: str) -> None:
    """So that the one at hand stays as it is."""
    done = subprocess.run(
        ["make", "--dry-run", "test", f"PYTHON={python}", "TESTS=tests/wire"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{environment}bin/python -m pytest" in done.stdout
    assert "tests/wire" in done.stdout


@posix_only
def test_wine_target_says_why_when_there_is_no_windows_python(tmp_path: Path) -> None:
    """It skips, with the command that would help."""
    done = subprocess.run(
        [ROOT / "tools" / "pythons" / "wine.sh", "-V"],
        env={**os.environ, "PYTHONS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("skipped: ")
    assert "make.sh windows" in done.stdout
