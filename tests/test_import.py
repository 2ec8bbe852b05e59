"""The public names: all there, and loaded only when used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bgpy
from bgpy import errors
from bgpy.errors import BgpyError


def loaded_after(program: str) -> list[str]:
    """The modules of bgpy that a new process has loaded after `program`."""
    listing = "import sys; print(*sorted(m for m in sys.modules if m.split('.')[0] == 'bgpy'))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{listing}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_import_loads_nothing_else_when_no_name_is_used() -> None:
    """``import bgpy`` pays for the package alone."""
    assert loaded_after("import bgpy") == ["bgpy"]


def test_import_loads_the_errors_alone_when_an_error_is_used() -> None:
    """A name costs its own module and what that needs."""
    assert loaded_after("from bgpy import ServerGone") == ["bgpy", "bgpy.errors"]


@pytest.mark.parametrize("name", bgpy.__all__)
def test_public_name_resolves_when_used(name: str) -> None:
    """Every name in ``__all__`` leads somewhere, and to the same object each time."""
    assert getattr(bgpy, name) is getattr(bgpy, name)
    assert name in dir(bgpy)


def test_public_names_hold_every_error_when_errors_has_one() -> None:
    """All of the tree in ``bgpy.errors`` can be imported from ``bgpy``."""
    tree = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BgpyError)
    }
    assert tree.keys() <= set(bgpy.__all__)
    assert {name: getattr(bgpy, name) for name in tree} == tree


def test_dir_gives_the_public_names_alone() -> None:
    """Tab completion offers nothing of the package's own, whatever has been used."""
    shown = {name for name in dir(bgpy) if not name.startswith("__")}
    assert shown == {*bgpy.__all__, "client", "errors", "server"} - {"__version__"}


def test_unknown_name_is_an_attribute_error_when_used() -> None:
    """A misspelt name fails as in any module, and the message names it."""
    with pytest.raises(AttributeError, match="Clinet"):
        bgpy.Clinet  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize("name", ["queue", "logging", "weakref"])
def test_file_that_hides_a_module_of_python_is_named(tmp_path: Path, name: str) -> None:
    """As the first thing that is said, whatever fails in its place; errors of others stay."""
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "start.py").write_text("from bgpy import Client\n")
    line = [sys.executable, str(tmp_path / "start.py")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: bgpy can't be imported: ")
    assert f"{name}.py hides a module of Python's own" in last
