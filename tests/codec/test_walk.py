"""What values are made of; `tests/codec/test_fingerprint.py` tries whole scripts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bgpy.codec.fingerprint import of_tasks
from bgpy.codec.walk import MOST_ITEMS, Walk

SCRIPT = """
import collections, dataclasses, decimal, functools, json as codec, pathlib, re, typing
from json import dumps as write

class Row(typing.NamedTuple):
    count: int = 1

@dataclasses.dataclass
class Settings:
    rate: float = 1.0
    way: str = "slow"

class Held:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.made = object()

@Held
def held(n): return n + 1

def one(n): return n
def two(n): return -n
chosen = one

@functools.singledispatch
def shown(value): return "any"
@shown.register
def _(value: int): return "int"

class Kind:
    @functools.singledispatchmethod
    def shown(self, value): return "kind's"
    def step(self, n): return n
    half = functools.partialmethod(step, 2)

@functools.lru_cache(maxsize=4)
def cached(n): return n

PATTERN = re.compile("a+", re.ASCII)
PLACE = pathlib.Path("data/a")
PRICE = decimal.Decimal("1.5")
ROWS = [Row(2), Row(3)]
SETTINGS = Settings(2.0)
ORDER = collections.OrderedDict(first=1)
KINDS = collections.defaultdict(list, a=[1])
LAST = collections.deque([1, 2])
STEPS = range(3)

def exec_task(client_socket, state, args):
    one(1), two(2), Row, Settings, Kind, state.unused
    used = held, chosen, shown, cached, codec, write, PATTERN, PLACE, PRICE, ROWS, SETTINGS
    return used, ORDER, KINDS, LAST, STEPS
unused = 1
"""


def _parts(text: str) -> dict[str, str]:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "script.py", "exec"), scope)
    return of_tasks({"exec_task": scope["exec_task"]})


BEFORE = _parts(SCRIPT)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return n + 1", "return n + 2", "held"),
        ("chosen = one", "chosen = two", "chosen"),
        ("json as codec", "csv as codec", "codec"),
        ("from json import dumps", "from pickle import dumps", "write"),
        ('return "any"', 'return "all"', "shown"),
        ("value: int", "value: str", "shown"),
        ('"kind\'s"', '"class\'s"', "Kind"),
        ("partialmethod(step, 2)", "partialmethod(step, 3)", "Kind"),
        ("maxsize=4", "maxsize=5", "cached"),
        ('"a+"', '"b+"', "PATTERN"),
        ("re.ASCII", "re.DOTALL", "PATTERN"),
        ("data/a", "data/b", "PLACE"),
        ('"1.5"', '"2.5"', "PRICE"),
        ("Row(3)", "Row(4)", "ROWS"),
        ("Settings(2.0)", "Settings(3.0)", "SETTINGS"),
        ("first=1", "first=2", "ORDER"),
        ("(list, a", "(set, a", "KINDS"),
        ("deque([1, 2])", "deque([2, 1])", "LAST"),
        ("range(3)", "range(4)", "STEPS"),
        ("unused = 1", "unused = 2", None),
        ("self.made = object()", "self.made = object()  # elsewhere", None),
    ],
)
def test_a_change_is_told_of_the_part_in_which_it_is(
    old: str, new: str, changed: str | None
) -> None:
    """Of constants of Python's classes, of what decorators hold, of what a name stands for."""
    assert old in SCRIPT
    after = _parts(SCRIPT.replace(old, new))
    found = {name for name in BEFORE if BEFORE[name] != after.get(name)}
    assert found == ({f"__main__.{changed}"} if changed else set())


def test_parts_are_the_same_in_every_run() -> None:
    """Whatever the order of sets, the addresses of objects, and what else was registered."""
    text = (
        "import abc, sys\n"
        "for _ in range(int(sys.argv[1])): abc.ABCMeta('X', (), {}).register(int)\n"
        f"{SCRIPT}\n"
        "shown.register(collections.abc.Mapping, one)\n"
        "from bgpy.codec.fingerprint import of_tasks\n"
        "print(sorted(of_tasks({'exec_task': exec_task}).items()))\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", text, count], check=True, capture_output=True, text=True
        ).stdout
        for count in ("1", "2", "3")
    }
    assert len(told) == 1


def test_a_tree_whose_branches_lead_back_is_looked_at_once() -> None:
    """Ten ways lead back from each branch: looking at each of them would never end."""
    tree: dict[str, Any] = {"children": []}
    for number in range(10):
        tree["children"].append({"parent": tree, "number": number, "next": tree["children"]})
    before = Walk().value(tree)
    assert Walk().value(tree) == before
    tree["children"][3]["number"] = -1
    assert Walk().value(tree) != before


def test_what_is_shared_is_looked_at_once() -> None:
    """Sixty levels would be more than anyone has time for."""
    value: list[Any] = [1]
    for _ in range(40):
        value = [value, value]
    assert Walk().value(value) == Walk().value(value)


def test_integers_of_any_length_are_told_apart() -> None:
    """Python writes no decimals of them."""
    assert Walk().value(2**20000) == Walk().value(2**20000) != Walk().value(2**20000 + 1)
    assert Walk().value({"n": (10**5000, True)}) != Walk().value({"n": (10**5000, 1)})
    assert Walk().value(range(10**5000)) != Walk().value(range(10**5000 + 1))


def test_of_what_holds_too_much_only_the_size_counts() -> None:
    """Also where it is in many small parts: that is data."""
    rows = [[number] * 100 for number in range(MOST_ITEMS // 100 + 1)]
    walk = Walk()
    before = walk.value({"rows": rows})
    assert walk.is_vague
    rows[0][0] = -1
    assert Walk().value({"rows": rows}) == before
    del rows[2:]
    assert Walk().value({"rows": rows}) != before
