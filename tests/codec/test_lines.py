"""Code objects with their lines; `tests/api/test_scripts.py` tries it between real processes."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from bgpy.codec import arrival, lines
from bgpy.codec.lines import Told, known_of, lines_of, located, rebuilt, show
from tests.support.forks import forked_while_held


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tables and the cache of lines as before, and `__main__` a program's."""
    monkeypatch.setattr(arrival, "_main", None)
    monkeypatch.setattr(lines, "_texts", lines._texts.copy())
    before = dict(linecache.cache)
    yield
    linecache.cache.clear()
    linecache.cache.update(before)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a server's."""
    monkeypatch.setattr(lines, "is_adopted", lambda: True)


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


@pytest.mark.usefixtures("server")
def test_lines_of_the_tasks_stay_when_their_file_changes(tmp_path: Path) -> None:
    """They are what runs; a later version has another name."""
    file = tmp_path / "script.py"
    file.write_text("as it is now\n")
    assert show(str(file), 0, ["as sent\n"], True) == str(file)
    assert _shown(str(file)) == "as sent\n"
    assert show(str(file), 0, ["as it is now\n"], False) == f"{file} (2)"
    assert show(str(file), 0, ["as sent\n"], False) == str(file)


@pytest.mark.usefixtures("server")
def test_lines_of_many_files_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, and those of the tasks never."""
    monkeypatch.setattr(lines, "MOST_TEXTS", 3)
    show("<tasks>", 0, ["tasks\n"], True)
    for number in range(10):
        show(f"<{number}>", 0, ["line\n"], False)
    assert "<tasks>" in linecache.cache
    assert [f"<{number}>" in linecache.cache for number in range(10)] == [False] * 7 + [True] * 3


@pytest.mark.usefixtures("server")
def test_lines_that_a_call_brought_stay_when_their_file_changes(tmp_path: Path) -> None:
    """They were the file's when they came; what it becomes isn't what runs."""
    file = tmp_path / "script.py"
    file.write_text("as sent\n")
    assert show(str(file), 0, ["as sent\n"], False) == str(file)
    file.write_text("edited since then\n")
    assert _shown(str(file)) == "as sent\n"
    assert show(str(file), 0, ["edited since then\n"], False) == f"{file} (2)"


SOURCE = """def outer(n):
    def inner(m: 'text' = (1, 2.5, None, ..., b'x', {'y'}, frozenset())):
        return [n in {1, 2} for each in range(m)]
    return inner
"""


def _defined(file: Path, text: str = SOURCE) -> CodeType:
    file.write_text(text)
    scope: dict[str, Any] = {}
    exec(compile(text, str(file), "exec"), scope)
    code: CodeType = scope["outer"].__code__
    return code


def _sent(code: CodeType, whole: dict[str, Told] | None = None) -> CodeType:
    cached = known_of(code).cached
    assert cached is not None
    return located(cached, lines_of(code, whole))


def _inner(code: CodeType) -> CodeType:
    return next(each for each in code.co_consts if isinstance(each, CodeType))


def test_code_is_the_same_there_with_its_lines_and_those_within(tmp_path: Path) -> None:
    """Where the name of its file has other lines, another name is shown."""
    file = tmp_path / "module.py"
    code = _defined(file)
    assert _sent(code) == code
    told = lines_of(code, None)
    assert told == (str(file), 0, SOURCE, False)
    file.write_text("edited\n")
    linecache.checkcache()
    sent = located(known_of(code).cached or b"", told)
    for each in (sent, _inner(sent)):
        assert each.co_filename == f"{file} (2)"
    assert _shown(f"{file} (2)") == SOURCE


def test_lines_are_those_that_the_file_has_now(tmp_path: Path) -> None:
    """What is kept of a code object doesn't outlive a look at its file."""
    file = tmp_path / "module.py"
    code = _defined(file)
    assert lines_of(code, None) is lines_of(code, None)
    file.write_text("# other\n" + SOURCE)
    linecache.checkcache()
    told = lines_of(code, None)
    assert told is not None
    assert str(told[2]).startswith("# other\n")


def test_lines_go_whole_with_tasks_and_not_if_they_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all functions of a file."""
    code = _defined(tmp_path / "module.py", SOURCE + "# the end\n")
    whole: dict[str, Told] = {}
    told = lines_of(code, whole)
    assert told is lines_of(_inner(code), whole)
    assert told == (code.co_filename, 0, SOURCE + "# the end\n", True)
    monkeypatch.setattr(lines, "LONGEST_TEXT", len(SOURCE))
    assert lines_of(code, {}) == (code.co_filename, 0, SOURCE, False)
    monkeypatch.setattr(lines, "LONGEST_TEXT", 10)
    assert lines_of(_defined(tmp_path / "other.py"), None) is None
    assert lines_of(compile("1", "<nowhere>", "eval"), None) is None


def test_lines_that_python_would_cut_elsewhere_travel_one_by_one(tmp_path: Path) -> None:
    """A form feed within a line ends none in a file."""
    text = "def outer(n):\n    return n, 'a\x0cb'\n"
    code = _defined(tmp_path / "module.py", text)
    told = lines_of(code, None)
    assert told is not None
    assert told[2] == ["def outer(n):\n", "    return n, 'a\x0cb'\n"]
    assert _sent(code) == code


@pytest.mark.parametrize(
    "odd", [bytearray(b"x"), [1], (1, bytearray(b"x")), type("Int", (int,), {})(3)]
)
def test_code_with_other_constants_than_a_compiler_makes_goes_in_parts(odd: Any) -> None:
    """Python's cache would hold some as what they aren't, and others not at all."""
    code = compile("f(1)", "<odd>", "eval").replace(co_consts=(odd,))
    assert known_of(code).cached is None
    assert known_of(code).file == "<odd>"


def test_rebuilt_names_the_file_and_shows_the_lines() -> None:
    """Of parts as cloudpickle takes code into."""
    cloudpickle = pytest.importorskip("cloudpickle.cloudpickle")
    code = compile("f(1)", "<parts>", "eval")
    parts = cloudpickle._code_reduce(code)[1]
    assert rebuilt(parts, "<parts>", None).co_filename == "<parts>"
    again = rebuilt(parts, "<parts>", ("<parts>", 0, "f(1)\n", False))
    assert (again, _shown("<parts>")) == (code, "f(1)\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_shows_lines_whatever_other_threads_were_doing() -> None:
    """One may have been decoding a function, which holds the lock."""
    assert forked_while_held(lines._lock.here, lambda: show("<forked>", 0, ["line\n"], False)) == 0
