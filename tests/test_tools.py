"""What contributors use: other Pythons are found, and the targets take them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools import second_python
from tools.other_pythons import OLDEST, kind_of, others

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


def test_promised_versions_are_those_of_the_package() -> None:
    """Read of its classifiers, the oldest being the one that it requires."""
    assert min(second_python.promised()) == OLDEST
    assert sys.version_info[:2] in second_python.promised() or sys.version_info >= (3, 15)


class Makes:
    """Takes make's place: what it was asked for, and what each of it exits with."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.asked: list[list[str]] = []

    def __call__(self, arguments: list[str], environment: Mapping[str, str]) -> int:
        self.asked.append(arguments)
        return self.codes[arguments[1]]


@posix_only
def test_second_python_is_the_newest_promised_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither one that is too new nor one without a GIL; the tests' failure is the run's."""
    newest = "{} {}".format(*max(second_python.promised()))
    commands = [
        _fake(tmp_path, "next", "cpython 3 98 0"),
        _fake(tmp_path, "free", f"cpython {newest} 1"),
        _fake(tmp_path, "newest", f"cpython {newest} 0"),
        _fake(tmp_path, "oldest", "cpython 3 11 0"),
    ]
    for code in (0, 2):
        make = Makes(environment=0, test=code)
        assert second_python.main(commands, make) == code
        python = f"PYTHON={commands[2]}"
        tests = f"TESTS={second_python.TESTS}"
        assert make.asked == [[python, "environment"], [python, "test", tests]]
    assert all((ROOT / each).exists() for each in second_python.TESTS.split())


@posix_only
def test_run_without_a_second_python_says_so_and_succeeds(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The change isn't at fault where there is none, or no network to install for it."""
    assert second_python.main([_fake(tmp_path, "next", "cpython 3 98 0")], Makes()) == 0
    assert "none that bgpy promises" in capfd.readouterr().out
    make = Makes(environment=2)
    assert second_python.main([_fake(tmp_path, "other", "cpython 3 12 0")], make) == 0
    assert "can't be installed" in capfd.readouterr().out
    assert len(make.asked) == 1


@posix_only
def test_second_python_runs_by_make(tmp_path: Path) -> None:
    """The tool runs as the target calls it, and finds the others by itself."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "second_python.py"],
        env={"PATH": str(tmp_path), "PYENV_ROOT": "/nowhere", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "BGPY_PYTHONS" in done.stdout


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
