"""The three functions from a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.tasks import init_file

TASKS = """
import beside

def init_task():
    return beside.VALUE

def exec_task(client_socket, state, args):
    return state

def exit_task(client_socket, state, args):
    pass
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sys.path` and the modules as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an init file and a module beside it."""
    (tmp_path / "beside.py").write_text("VALUE = 42\n")
    (tmp_path / "my_tasks.py").write_text(TASKS)
    return tmp_path


def test_load_gives_the_functions_when_the_file_has_them(folder: Path) -> None:
    """The module has its own name, and what lies beside it can be imported."""
    functions = init_file.load(str(folder / "my_tasks.py"))
    assert functions.init_task() == 42
    assert functions.exec_task.__module__ == "my_tasks"
    assert sys.path[0] == str(folder)


def test_load_finds_the_file_when_the_path_is_relative(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to the working directory; its folder goes first, once."""
    monkeypatch.chdir(folder)
    sys.path.append(str(folder))
    assert init_file.load("my_tasks.py").init_task() == 42
    assert sys.path.count(str(folder)) == 1


REFUSED = [
    ("missing.py", None, "does not exist"),
    ("not-a-name.py", TASKS, "rename it like a module"),
    ("tasks.txt", TASKS, "rename it like a module"),
    ("json.py", TASKS, "is hidden by another module"),
    ("sys.py", TASKS, "is hidden by another module"),
    ("lacking.py", "def init_task(): pass\n", "lacks exec_task, exit_task"),
]


@pytest.mark.parametrize(("name", "text", "expected"), REFUSED)
def test_load_says_what_is_wrong_when_the_file_will_not_do(
    folder: Path, name: str, text: str | None, expected: str
) -> None:
    """One line tells what to mend, and names the file."""
    path = folder / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartupError, match=expected) as caught:
        init_file.load(str(path))
    assert str(path) in str(caught.value)


def test_load_refuses_a_folder_when_it_is_named_as_a_file(tmp_path: Path) -> None:
    """Only a file will do."""
    (tmp_path / "tasks.py").mkdir()
    with pytest.raises(StartupError, match="is a folder"):
        init_file.load(str(tmp_path / "tasks.py"))


def test_load_raises_what_the_file_raises_when_it_is_imported(folder: Path) -> None:
    """The user sees their own error."""
    (folder / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        init_file.load(str(folder / "broken.py"))


def test_load_refuses_functions_when_they_take_other_parameters(folder: Path) -> None:
    """Found out at the start, not at the first request."""
    text = TASKS.replace("exec_task(client_socket, state, args)", "exec_task(state)")
    (folder / "short_tasks.py").write_text(text)
    with pytest.raises(TypeError, match="exec_task must take three parameters"):
        init_file.load(str(folder / "short_tasks.py"))


def test_check_exists_gives_the_absolute_path_without_importing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that starts a server looks only whether the file is there."""
    monkeypatch.chdir(folder)
    (folder / "raises.py").write_text("1 / 0\n")
    assert init_file.check_exists("raises.py") == str(folder / "raises.py")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "import no_such_module\n",
            "ModuleNotFoundError: No module named 'no_such_module' (X, line 1)",
        ),
        ("\ndef f(:\n", "(X, line 2)"),
        ("import json\n\njson.loads('{')\n", "(X, line 3)"),
        ("def f(): 1 / 0\nf()\n", "ZeroDivisionError: division by zero (X, line 1, in f)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (X, line 1)"),
        (TASKS.replace("exec_task(client_socket, state", "exec_task(state"), "does not (X)"),
        (
            TASKS.replace("exec_task", "do"),
            "the init file X lacks exec_task: define what is missing",
        ),
    ],
)
def test_failure_names_the_line_of_the_file_as_far_as_one_was_reached(
    folder: Path, text: str, expected: str
) -> None:
    """Of the user's own file, not of the library or of bgpy that raised in the end."""
    path = folder / "failing_tasks.py"
    path.write_text(text)
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        init_file.load(str(path))
    told = str(init_file.failure(str(path), caught.value))
    assert told.replace(str(path), "X").endswith(expected)
    assert "init_task failed" not in told
