"""Where names and lines go; `tests/api/test_scripts.py` tries it between real processes."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy.codec import arrival
from bgpy.codec.arrival import MAINS, Script, show


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`__main__`, the tables and the cache of lines as before."""
    for name in MAINS:
        monkeypatch.setitem(sys.modules, name, sys.modules[MAINS[0]])
    monkeypatch.setattr(arrival, "_main", None)
    monkeypatch.setattr(arrival, "_of_calls", set())
    monkeypatch.setattr(arrival, "_texts", arrival._texts.copy())
    before = dict(linecache.cache)
    yield
    linecache.cache.clear()
    linecache.cache.update(before)


def test_names_go_nowhere_where_main_is_a_programs() -> None:
    """A client's, or that of a program which serves in the foreground."""
    main = dict(vars(sys.modules["__main__"]))
    for tasks in (True, False):
        script = Script(tasks, "", False)
        script.take("no_such_name", 1)
        assert script.globals == {}
    assert vars(sys.modules["__main__"]) == main


def test_main_is_the_script_of_the_tasks_where_it_is_adopted() -> None:
    """Later names are put where theirs are not; the next tasks begin anew."""
    arrival.adopt_main()
    tasks = Script(True, "", False)
    main = sys.modules["__main__"]
    assert main is sys.modules["__mp_main__"]
    assert tasks.globals is vars(main)
    tasks.take("f", "the tasks'")
    for value in ("a call's", "the next one's"):
        call = Script(False, "", False)
        assert call.globals == {}
        call.take("f", value)
        call.take("g", value)
        assert (main.f, main.g) == ("the tasks'", value)  # type: ignore[attr-defined]
    assert Script(True, "", False).globals.keys().isdisjoint(("f", "g"))
    assert sys.modules["__main__"] is not main


@pytest.mark.parametrize(("guarded", "exists"), [(True, True), (False, True), (True, False)])
def test_children_find_the_script_where_they_may_import_it(
    tmp_path: Path, guarded: bool, exists: bool
) -> None:
    """Its file is here, and has a guard; else they are told to look for none."""
    file = tmp_path / "script.py"
    if exists:
        file.write_text("")
    arrival.adopt_main()
    script = Script(True, str(file), guarded)
    scope = arrival.globals_of(script, {"__name__": "__main__", "__file__": str(file)})
    assert scope["__file__"] == str(file)
    assert (scope["__spec__"] is None) is (guarded and exists)


def _shown(name: str) -> str:
    linecache.checkcache()
    return "".join(linecache.getlines(name))


def test_lines_are_shown_at_their_place() -> None:
    """Those of several functions of one file together, each version under a name of its own."""
    assert show("<cell>", 2, ["third\n"], False) == "<cell>"
    assert show("<cell>", 0, ["first\n"], False) == "<cell>"
    assert _shown("<cell>") == "first\n\nthird\n"
    assert show("<cell>", 2, ["third\n"], False) == "<cell>"
    assert show("<cell>", 2, ["another\n"], False) == "<cell> (2)"
    assert show("<cell>", 2, ["one more\n"], False) == "<cell> (3)"
    assert show("<cell>", 2, ["another\n"], False) == "<cell> (2)"
    assert _shown("<cell> (2)") == "\n\nanother\n"


def test_lines_of_a_file_that_is_here_stay(tmp_path: Path) -> None:
    """It is shown where it has the lines, and another name where it has others."""
    file = tmp_path / "module.py"
    file.write_text("one\ntwo\n")
    assert show(str(file), 1, ["two\n"], False) == str(file)
    assert show(str(file), 1, ["three\n"], False) == f"{file} (2)"
    assert _shown(str(file)) == "one\ntwo\n"
    file.write_text("one and more\nthree\n")
    assert show(str(file), 1, ["three\n"], False) == str(file)


def test_lines_of_the_tasks_stay_when_their_file_changes(tmp_path: Path) -> None:
    """They are what runs; a later version has another name."""
    file = tmp_path / "script.py"
    file.write_text("as it is now\n")
    arrival.adopt_main()
    assert show(str(file), 0, ["as sent\n"], True) == str(file)
    assert _shown(str(file)) == "as sent\n"
    assert show(str(file), 0, ["as it is now\n"], False) == f"{file} (2)"
    assert show(str(file), 0, ["as sent\n"], False) == str(file)


def test_lines_of_many_files_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, and those of the tasks never."""
    monkeypatch.setattr(arrival, "MOST_TEXTS", 3)
    arrival.adopt_main()
    show("<tasks>", 0, ["tasks\n"], True)
    for number in range(10):
        show(f"<{number}>", 0, ["line\n"], False)
    assert "<tasks>" in linecache.cache
    assert [f"<{number}>" in linecache.cache for number in range(10)] == [False] * 7 + [True] * 3
