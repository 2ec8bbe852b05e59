"""One fingerprint of code: what changes it, what doesn't, and that each run gives the same."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import weakref
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import fingerprint
from bgpy.codec.fingerprint import are_different, of_code, of_parts, of_tasks
from tests.support.builds import IMMORTAL, NEVER_DROPPED
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
    """Of their script; what they don't use isn't looked at, what they import is named."""
    names = ["step", "helper", "LIMIT", "NAMES", "TABLE", "DATA", "Item", "Color", "os"]
    prefixed = {"exec_task", "__main__.exec_task", *(f"__main__.{name}" for name in names)}
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
from bgpy.codec import fingerprint
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


DECORATED = """
import functools

def decorated(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper

def kept(kind):
    return kind

@decorated
@decorated
def step(n): return n + 1

@kept
class Item:
    def size(self): return 1

first = lambda: 1
table = {"a": first, "b": [first]}

def exec_task(client_socket, state, args):
    return step(1), Item, table, first
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return n + 1", "return n + 2", {"__main__.step"}),
        ("return function(*args)", "return function(*args, 1)", {"__main__.step"}),
        ("def size(self): return 1", "def size(self): return 2", {"__main__.Item"}),
        ("lambda: 1", "lambda: 2", {"__main__.first", "__main__.table"}),
        ("return kind", "return kind or 1", set()),
    ],
)
def test_fingerprint_looks_into_what_decorators_have_made(
    old: str, new: str, changed: set[str]
) -> None:
    """A wrapper has the name of what it wraps, which has none of its own then."""
    before, after = _parts(DECORATED), _parts(DECORATED.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == changed


def _scope(monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, Any]:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(text, "script.py", "exec"), vars(main))
    return vars(main)


def test_of_parts_says_what_of_tasks_says_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of functions and classes; data is no code, and what is imported goes by its module."""
    for text in (SCRIPT, DECORATED):
        scope = _scope(monkeypatch, text)
        told = of_tasks({"exec_task": scope["exec_task"]})
        names = {name for name in scope if f"__main__.{name}" in told}
        found = of_parts(names | {"no_such_name", "os", "dataclass"})
        assert found.items() <= told.items()
        others = ("LIMIT", "NAMES", "TABLE", "DATA", "table", "os")
        data = {f"__main__.{name}" for name in others}
        assert told.keys() - found.keys() - {"exec_task"} == data & told.keys()


def test_of_parts_changes_with_what_is_replaced_and_not_with_what_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A default that a function fills is its own; another function in its place is another."""
    scope = _scope(
        monkeypatch,
        "import functools\n"
        "def fill(n, seen=[]): seen.append(n)\n"
        "@functools.lru_cache\n"
        "def cached(n): return n\n"
        "def other(n): return -n\n"
        "class Kind:\n"
        "    made, last = 0, None\n"
        "    def __init__(self):\n"
        "        Kind.made += 1\n"
        "        Kind.last = self\n"
        "    def size(self): return 1\n"
        "def counter():\n"
        "    n = 0\n"
        "    def count():\n"
        "        nonlocal n\n"
        "        n += 1\n"
        "    return count\n"
        "count, total = counter(), 0\n"
        "def exec_task(c, s, a): return fill, cached, Kind, count, total\n",
    )
    names = {"fill", "cached", "Kind", "count"}
    before = of_parts(names)
    tasks = of_tasks({"exec_task": scope["exec_task"]})
    scope["fill"](5)
    scope["cached"](5)
    scope["Kind"]()
    scope["count"]()
    assert of_parts(names) == before
    assert of_tasks({"exec_task": scope["exec_task"]}) == tasks
    scope["total"] += 1
    assert of_tasks({"exec_task": scope["exec_task"]}) != tasks
    code = of_tasks({"exec_task": scope["exec_task"]}, data=False)
    assert code.items() < tasks.items()
    assert "__main__.total" not in code
    scope["fill"].__code__ = scope["other"].__code__
    assert of_parts(names)["__main__.fill"] != before["__main__.fill"]
    scope["Kind"].size.__code__ = scope["other"].__code__
    assert of_parts(names)["__main__.Kind"] != before["__main__.Kind"]
    scope["Kind"].more = 1
    scope["cached"] = scope["other"]
    assert of_parts(names)["__main__.cached"] != before["__main__.cached"]


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        ("3.11 a", "3.11 a", False),
        ("3.11 a", "3.11 b", True),
        ("3.11 a", "3.12 a", False),
        ("3.11 a", "3.12 b", False),
        ("3.11 a", "", False),
    ],
)
def test_code_of_different_pythons_is_not_known_to_differ(
    one: str, other: str, different: bool
) -> None:
    """Their instructions say nothing of each other."""
    assert are_different(one, other) is are_different(other, one) is different
    found = of_tasks({"exec_task": lambda: 1})["exec_task"]
    assert found.partition(" ")[0] == platform.python_version()


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_code_that_was_compiled_otherwise_is_not_compared(flag: str) -> None:
    """The same lines are other instructions there."""
    text = (
        "from bgpy.codec.fingerprint import of_tasks\n"
        "def task(): assert True\n"
        "print(of_tasks({'task': task})['task'])"
    )
    told = [
        subprocess.run(
            [sys.executable, *flags, "-c", text], check=True, capture_output=True, text=True
        ).stdout
        for flags in ([], [flag])
    ]
    assert told[0] != told[1]
    assert not are_different(*told)


KEPT_BY_ITSELF = """
import functools
def outer():
    def recursive(n): return n and recursive(n - 1)
    recursive.__qualname__ = "recursive"
    return recursive
recursive = outer()
@functools.lru_cache
def cached(n, seen=[]): return cached(n)
def plain(n, other=recursive, *, more={"a": 1}): return plain(n)
class Kind:
    table = bytearray(100)
    other = {1: 2}
    def __init__(self): super().__init__()
    @classmethod
    def make(cls): return __class__
    @staticmethod
    def twice(n): return 2 * n
    @property
    def size(self): return __class__
Kind.itself = Kind
Kind.all = [Kind(), (Kind,)]
Kind.more = plain.of = (Kind, plain)
class Slotted(Kind):
    __slots__ = ("a", "b")
def exec_task(client_socket, state, args):
    return recursive, cached, plain, Kind, Slotted
"""


@pytest.mark.skipif(IMMORTAL, reason=NEVER_DROPPED)
@pytest.mark.parametrize("as_tasks", [True, False])
def test_what_has_a_fingerprint_is_gone_when_the_script_drops_it(
    monkeypatch: pytest.MonkeyPatch, as_tasks: bool
) -> None:
    """A notebook defines a class at each run of a cell; what it leads to leads back to it."""
    scope = _scope(monkeypatch, KEPT_BY_ITSELF)
    names = {"recursive", "cached", "plain", "Kind", "Slotted"}
    found = of_tasks({"exec_task": scope["exec_task"]}) if as_tasks else of_parts(names)
    assert {f"__main__.{name}" for name in names} <= found.keys()
    assert of_parts(names).items() <= found.items()
    left = {name: weakref.ref(scope[name]) for name in names}
    scope.clear()
    gc.collect()
    assert [name for name in names if left[name]() is not None] == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Kind", "Kind.size = property(lambda self: 1)"),
        ("Kind", "Kind.itself = 5"),
        ("Kind", "Kind.make = classmethod(lambda cls: 1)"),
        ("plain", "plain.__defaults__ = (1,)"),
        ("plain", "plain.__defaults__ = (cached,)"),
        ("plain", "plain.__kwdefaults__ = {'more': 2}"),
        ("recursive", "recursive.__closure__[0].cell_contents = len"),
    ],
)
def test_of_parts_sees_what_was_replaced_in_place(
    monkeypatch: pytest.MonkeyPatch, name: str, change: str
) -> None:
    """Members and defaults of whatever kind; nothing is taken anew where nothing was."""
    scope = _scope(monkeypatch, KEPT_BY_ITSELF)
    before = of_parts({name})
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint.Walk, "part", None)
        assert of_parts({name}) == before
    exec(change, scope)
    assert of_parts({name}) != before
