"""One fingerprint of code: what changes it, what doesn't, and that each run gives the same."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from bgpy.codec.fingerprint import of_code, of_tasks
from tests.support.touchy import Touchy

SCRIPT = """
import enum, functools, os
from dataclasses import dataclass
LIMIT = 5
NAMES = {"b", "a", "c", ("d", 1)}
TABLE = {"x": [1, 2.5], "y": None}
DATA = object()

class Color(enum.Enum):
    RED = 1

@dataclass
class Item:
    value: int = 3
    names = frozenset(("p", "q", "r"))
    def twice(self):
        return self.value * 2
    @property
    def size(self): return LIMIT
    @classmethod
    def make(cls): return cls()

@functools.lru_cache(maxsize=4)
def step(n, *, more=Color.RED):
    return n in {"u", "v", "w"} and step(n - 1) or helper(n)

def helper(n):
    return [Item.make().twice() for each in NAMES if each != LIMIT], os.getcwd(), TABLE, DATA

def unused(): return 1

def exec_task(client_socket, state, args):
    return step(args["n"])
"""


def _parts(text: str) -> dict[str, str]:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "script.py", "exec"), scope)
    return of_tasks({"exec_task": scope["exec_task"]})


BEFORE = _parts(SCRIPT)


def test_parts_are_named_by_what_the_tasks_use() -> None:
    """Of their script; what they don't use isn't looked at."""
    names = ["exec_task", "step", "helper", "LIMIT", "NAMES", "TABLE", "DATA", "Item", "Color"]
    prefixed = {"exec_task", *(f"__main__.{name}" for name in names)}
    assert BEFORE.keys() == prefixed


SAME = [
    ("import enum", "\n\n# a comment\nimport enum"),
    ("def unused(): return 1", "def unused(): return 2"),
    ('{"b", "a", "c", ("d", 1)}', '{("d", 1), "c", "a", "b"}'),
    ("DATA = object()", "DATA = object()  # elsewhere in memory"),
    ('{"x": [1, 2.5], "y": None}', '{"y": None, "x": [1, 2.5]}'),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_fingerprint_stays_when_nothing_of_the_code_changes(old: str, new: str) -> None:
    """Lines, comments, other functions, the order of a set, addresses."""
    assert old in SCRIPT
    assert _parts(SCRIPT.replace(old, new)) == BEFORE


CHANGES = [
    ("LIMIT = 5", "LIMIT = 6", {"LIMIT"}),
    ("LIMIT = 5", "LIMIT = True", {"LIMIT"}),
    ('"c", ("d", 1)', '"c", ("d", 2)', {"NAMES"}),
    ("[1, 2.5]", "[2.5, 1]", {"TABLE"}),
    ("RED = 1", "RED = 2", {"Color"}),
    ("value: int = 3", "value: int = 4", {"Item"}),
    ("self.value * 2", "self.value * 3", {"Item"}),
    ("def size(self): return LIMIT", "def size(self): return 7", {"Item"}),
    ('"u", "v", "w"', '"u", "v", "x"', {"step"}),
    ("step(n - 1) or", "step(n + 1) or", {"step"}),
    ('args["n"]', 'args["m"]', {"exec_task"}),
    ("os.getcwd()", "os.getpid()", {"helper"}),
    ("DATA = object()", "DATA = Exception()", {"DATA"}),
]


@pytest.mark.parametrize(("old", "new", "changed"), CHANGES)
def test_fingerprint_tells_which_part_has_changed(old: str, new: str, changed: set[str]) -> None:
    """Code and plain constants, wherever they stand."""
    assert old in SCRIPT
    after = _parts(SCRIPT.replace(old, new))
    found = {name.rpartition(".")[2] for name in BEFORE if BEFORE[name] != after.get(name)}
    assert found == changed


PRINTS = f"""
from bgpy.codec.fingerprint import of_tasks
{SCRIPT}
print(sorted(of_tasks({{"exec_task": exec_task, "lambda": lambda: {{"i", "j", "k"}}}}).items()))
"""


def test_fingerprint_is_the_same_in_every_run() -> None:
    """Whatever the order of sets is there, and wherever the code lies."""
    printed = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", "\n" * int(seed) + PRINTS]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        printed.add(done.stdout)
    assert len(printed) == 1


def test_tasks_of_modules_are_their_names() -> None:
    """Their code is told by the version of the module; the same for methods and partials."""
    import functools

    found = of_tasks({"a": os.getcwd, "b": os.path.join, "c": functools.partial(os.path.join, "x")})
    again = of_tasks({"a": os.path.join, "b": os.path.join, "c": functools.partial(os.path.join)})
    assert found["b"] == again["a"]
    assert found["c"] != again["c"]
    assert found.keys() == {"a", "b", "c"}


def test_of_code_looks_into_what_is_deep_and_large() -> None:
    """It ends, and a circle of closures does too."""
    nest: Any = ()
    for _ in range(200):
        nest = (nest,)
    scope: dict[str, Any] = {"__name__": "__main__", "nest": nest, "large": list(range(10**6))}
    exec("def f(): return nest, large, f", scope)
    assert of_tasks({"f": scope["f"]}).keys() == {
        "f",
        "__main__.f",
        "__main__.nest",
        "__main__.large",
    }

    def circle() -> Any:
        return circle

    circle.__module__ = "__main__"
    assert of_tasks({"f": circle}).keys() == {"f"}
    assert of_code(circle.__code__) == of_code(circle.__code__)


def test_objects_are_not_asked_what_they_are() -> None:
    """A proxy of something that isn't there raises whatever it is asked."""
    scope: dict[str, Any] = {"__name__": "__main__", "proxy": Touchy(), "Kind": Touchy}
    exec("def exec_task(c, s, a, default=proxy): return proxy, [Kind, proxy]", scope)
    assert of_tasks(scope).keys() >= {"exec_task", "__main__.proxy"}
