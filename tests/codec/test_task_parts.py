"""Tasks are compared by their code, whether their file is run or imported."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec.fingerprint import of_tasks
from bgpy.codec.modules import TASKS
from bgpy.codec.task_parts import Hashes, TaskParts

TEXT = """
import dataclasses, enum, functools, logging, typing
from bgpy import respond
LIMIT, LOG = {"a": [1, 2]}, logging.getLogger(__name__)
T = typing.TypeVar("T")
class Color(enum.Enum):
    RED = 1
class Row(typing.NamedTuple):
    a: int
    color: Color = Color.RED
@dataclasses.dataclass
class Record(typing.Generic[T]):
    a: int
    row: Row = Row(1)
    def twice(self): return Record(step(self.a))
def wraps(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
@functools.cache
def cached(x): return x
@wraps
def step(x):
    class Inner(Record): ...
    return cached(x) + LIMIT["a"][0]
class Task:
    def run(self, client_socket, state, args): return Record
@wraps
def init_task(): return Record(1), __name__, __file__, LOG
def exec_task(client_socket, state, args, rate=1): respond(client_socket, step(1))
def exit_task(client_socket, state, args): return [Row, Color.RED, lambda: step]
partial, bound, called = functools.partial(exec_task, rate=2), Task().run, lambda *_: exec_task
"""
PLAIN = ("init_task", "exec_task", "exit_task")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is told of the tasks of a file that is called as `name`."""

    def told(name: str, text: str = TEXT, tasks: tuple[str, ...] = PLAIN) -> dict[str, str]:
        made = ModuleType(name)
        made.__file__ = f"/{name}.py"
        monkeypatch.setitem(sys.modules, name, made)
        exec(compile(text, made.__file__, "exec", dont_inherit=True), vars(made))
        return of_tasks(dict(zip(PLAIN, (vars(made)[each] for each in tasks), strict=True)))

    return told


def _server(parts: dict[str, str]) -> Hashes:
    return {TASKS + name: found for name, found in parts.items()}


PAIRS = [("__main__", "m"), ("m", "__main__"), ("m", "package.m"), ("__main__", "package.m")]


@pytest.mark.parametrize(("here", "there"), PAIRS)
@pytest.mark.parametrize("tasks", [PLAIN, ("init_task", "partial", "bound"), ("called",) * 3])
def test_file_by_another_name_is_no_other_code(
    parts: Any, here: str, there: str, tasks: tuple[str, ...]
) -> None:
    """Whichever side has run it, whatever its tasks are and use."""
    ours = TaskParts(parts(here, tasks=tasks))
    theirs = _server(parts(there, "# moved\n" + TEXT, tasks))
    assert ours.others(theirs) == []
    assert ours.are_theirs(theirs)


EDITS = [
    ("[1, 2]", "[1, 3]", "__main__.LIMIT"),
    ("return cached(x) +", "return cached(x) -", "__main__.step"),
    ("return x\n", "return -x\n", "__main__.cached"),
    ("a: int\n    row", "a: float\n    row", "__main__.Record"),
    ("RED = 1", "RED = 2", "__main__.Color"),
    ("rate=1", "rate=3", "__main__.exec_task"),
]


@pytest.mark.parametrize(("here", "there"), [("__main__", "m"), ("m", "__main__")])
@pytest.mark.parametrize(("old", "new", "name"), EDITS)
def test_edit_of_a_file_by_another_name_is_told(
    parts: Any, here: str, there: str, old: str, new: str, name: str
) -> None:
    """And nothing else of what both have."""
    assert old in TEXT
    ours = TaskParts(parts(here, TEXT.replace(old, new)))
    theirs = _server(parts(there))
    assert name in (found := ours.others(theirs))
    assert not {"__main__.respond", "__main__.Row", *PLAIN}.intersection(found)
    assert not ours.are_theirs(theirs)


def test_tasks_of_two_modules_are_told_by_their_own_names(parts: Any) -> None:
    """What is in the one and not in the other is none of both."""
    other = "def init_task(): ...\ndef exec_task(c, s, a): ...\ndef exit_task(c, s, a): ...\n"
    assert TaskParts(parts("n", other)).others(_server(parts("m"))) == list(PLAIN)
    assert TaskParts(parts("m")).others(_server(parts("m"))) == []
    copied = TaskParts(parts("m_copied"))
    assert copied.others(_server(parts("m"))) == []


def test_names_that_only_one_side_uses_are_not_told_beside_others(parts: Any) -> None:
    """An imported function is no difference: what uses it is."""
    uses = "from bgpy import respond\ndef exec_task(c, s, a): respond(c, 1)\n"
    rest = "def init_task(): ...\ndef exit_task(c, s, a): ...\n"
    plain = f"def exec_task(c, s, a): ...\n{rest}"
    ours = TaskParts(parts("__main__", uses + rest))
    assert ours.others(_server(parts("__main__", plain))) == ["__main__.exec_task"]
    # Where nothing else is another, it is said.
    late = f"{uses}{rest}".replace("from bgpy import respond", "")
    assert ours.others(_server(parts("__main__", late))) == ["__main__.respond"]


def test_server_without_tasks_that_are_known_lacks_them(parts: Any) -> None:
    """As one of a release that tells none."""
    assert TaskParts(parts("m")).others({})[:3] == list(PLAIN)
