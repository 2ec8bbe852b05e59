"""The way to what can't be pickled, and what is advised."""

from __future__ import annotations

import collections
import functools
import threading
from typing import Any

import pytest

from bgpy.codec.blame import blame

LOCK = threading.Lock()


def _script(source: str) -> dict[str, Any]:
    """The names of a script, whose functions and classes go by value."""
    names: dict[str, Any] = {"__name__": "__main__", "LOCK": LOCK, "HELD": {"here": [LOCK]}}
    exec(source, names)
    return names


SCRIPT = _script(
    """
import functools
def plain(): return HELD
def outer():
    def inner(): return [LOCK for _ in range(3)]
    return inner
def calls(): return plain()
def defaults(one=1, *, two=LOCK): pass
def recursive(): return recursive, LOCK
@functools.cache
def cached(): return LOCK
class Held:
    lock = LOCK
class Methods:
    @staticmethod
    def static(): return LOCK
    @property
    def lock(self): return 1
class Below(Methods): pass
class Slots:
    __slots__ = ("lock", "more")
    def __init__(self): self.lock = LOCK
class Own:
    def __reduce__(self): return Own, (1, [LOCK])
class Refuses:
    def __reduce__(self): raise RuntimeError("it can't")
class Odd:
    def __repr__(self): raise RuntimeError
    __hash__ = object.__hash__
"""
)
GLOBAL = "global 'LOCK'"

WAYS: dict[str, tuple[Any, str]] = {
    "itself": (LOCK, ""),
    "containers": ({"a": [1, (2, LOCK)]}, "['a'][1][1]"),
    "key": ({LOCK: 1}, f" -> key {LOCK!r}"),
    "element": ({LOCK}, f" -> element {LOCK!r}"),
    "deque": (collections.deque([1, LOCK]), "[1]"),
    "ordered": (collections.OrderedDict(a=LOCK), "['a']"),
    "global": (SCRIPT["plain"], " -> function plain -> global 'HELD'['here'][0]"),
    "within": (SCRIPT["outer"], f" -> function outer -> {GLOBAL}"),
    "inner": (SCRIPT["outer"](), f" -> function outer.<locals>.inner -> {GLOBAL}"),
    "another's": (
        [SCRIPT["calls"]],
        "[0] -> function calls -> global 'plain' -> function plain -> global 'HELD'['here'][0]",
    ),
    "default": (SCRIPT["defaults"], " -> function defaults -> default of 'two'"),
    "recursive": (SCRIPT["recursive"], f" -> function recursive -> {GLOBAL}"),
    "cached": (SCRIPT["cached"], f" -> function cached -> {GLOBAL}"),
    "partial": (functools.partial(print, LOCK), " -> arguments of the partial[0]"),
    "class": (SCRIPT["Held"], " -> class Held -> attribute 'lock'"),
    "object": ([SCRIPT["Held"]()], "[0] -> class Held -> attribute 'lock'"),
    "base": (
        SCRIPT["Below"],
        f" -> class Methods -> attribute 'static' -> function Methods.static -> {GLOBAL}",
    ),
    "slots": (SCRIPT["Slots"](), " -> attribute 'lock'"),
    "own way": (SCRIPT["Own"](), " -> what it is made from[0]"),
    "refuses": ([SCRIPT["Refuses"]()], "[0]"),
    "method": (
        SCRIPT["Slots"]().__init__,
        " -> object of the method -> attribute 'lock'",
    ),
}


@pytest.mark.parametrize("case", WAYS)
def test_way_leads_to_what_is_to_blame(case: str) -> None:
    """Through all that pickle takes apart."""
    obj, way = WAYS[case]
    assert blame(obj, "args")[0] == f"args{way}"


@pytest.mark.parametrize(
    ("obj", "what", "advice"),
    [
        (LOCK, "args", "send what it is made from"),
        (LOCK, "response", "respond with what the caller needs"),
        ({"exec_task": SCRIPT["plain"]}, "tasks", "make it in init_task"),
        (SCRIPT["plain"], "args", "make it in init_task"),
        (LOCK, "exception", None),
    ],
)
def test_advice_is_that_of_what_is_sent(obj: Any, what: str, advice: str | None) -> None:
    """What a function uses is made in init_task."""
    found = blame(obj, what)[1]
    assert found is None if advice is None else advice in str(found)


def test_long_ways_and_circles_end() -> None:
    """And keys are shown as far as that goes."""
    circle: list[Any] = []
    circle.append([circle, LOCK])
    assert blame(circle, "args")[0] == "args[0][1]"
    deep: Any = LOCK
    for _ in range(50):
        deep = [deep]
    assert blame(deep, "args")[0] == "args" + 20 * "[0]"
    odd = SCRIPT["Odd"]()
    assert blame({odd: LOCK, "x" * 1000: 1}, "args")[0] == "args[<Odd>]"
    assert blame({"x" * 1000: LOCK}, "args")[0] == f"args['{'x' * 99}...]"
