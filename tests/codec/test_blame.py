"""The way to what can't be pickled, and what is advised."""

from __future__ import annotations

import collections
import functools
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from bgpy.codec.blame import blame
from bgpy.codec.patience import LONGEST_LOOK
from bgpy.codec.payload import encode
from bgpy.errors import EncodeError

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
def attribute(one): return one.HELD, LOCK
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
    "attribute": (SCRIPT["attribute"], f" -> function attribute -> {GLOBAL}"),
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
        (SCRIPT["plain"], "response", "respond with what the caller needs"),
        ({" -> function x": LOCK}, "args", "send what it is made from"),
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


def _raise(*_: Any) -> Any:
    raise SystemExit(3)


class _Odd:
    """Something of the user's that does the wrong thing when it is looked at."""

    def __init__(self, **methods: Any) -> None:
        self.__class__ = type("Odd", (_Odd,), methods)  # type: ignore[assignment]
        self.lock = LOCK


class _Items(dict[str, Any]):
    items = values = __iter__ = _raise  # type: ignore[assignment]


ODD: dict[str, tuple[Any, str]] = {
    "no arguments": (_Odd(__reduce__=lambda self: (_Odd, None)), "[1]"),
    "no rows": (_Odd(__reduce__=lambda self: (_Odd, (), None, 5)), "[1]"),
    "no pairs": (_Odd(__reduce__=lambda self: (_Odd, (LOCK,), None, None, iter([1]))), "[1]"),
    "own items": (_Items(a=LOCK), "[1]['a']"),
    "repr": ({_Odd(__repr__=_raise): 1}, "[1] -> key <Odd> -> attribute 'lock'"),
    "no module": (_Odd(__module__=None), "[1] -> attribute 'lock'"),
    "rows that raise": (_Odd(__reduce__=lambda self: (_Odd, (), None, map(_raise, "a"))), "[1]"),
}


@pytest.mark.parametrize("case", ODD)
def test_whatever_the_users_code_raises_the_way_is_told(case: str) -> None:
    """Also what ends programs: one `EncodeError` tells of it all."""
    obj, way = ODD[case]
    assert blame([1, obj], "args")[0].startswith(f"args{way}")


def test_reduce_that_exits_is_to_blame_and_exits_nobody() -> None:
    """It is asked again while the way is looked for."""
    asked = itertools.count()

    def reduced(self: Any) -> Any:
        return _raise() if next(asked) > 1 else LOCK

    assert blame([_Odd(__reduce__=_raise)], "args")[0] == "args[0]"
    with pytest.raises(EncodeError, match=r"args\[0\] can't be sent"):
        encode([_Odd(__reduce__=reduced)], "args")

    class Mute(Exception):
        __str__ = _raise

    def refuse(self: Any) -> Any:
        raise Mute

    with pytest.raises(EncodeError, match=r"args\[0\] can't be sent: .*Mute"):
        encode([_Odd(__reduce__=refuse)], "args")


def test_keyboard_interrupt_is_not_taken_for_the_objects() -> None:
    """Who presses Ctrl-C waits for no way."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        blame([_Odd(__reduce__=interrupted)], "args")


def _endless(self: Any) -> Any:
    return _Odd, (), None, map(list, itertools.repeat([]))


LARGE: dict[str, Callable[[], Any]] = {
    "endless": lambda: [_Odd(__reduce__=_endless)],
    "many": lambda: {"rows": {number: (number,) for number in range(500_000)}, "z": LOCK},
    "nested": lambda: functools.reduce(
        lambda x, _: [list(range(300_000)), x], range(20), list[Any]((LOCK,))
    ),
}


@pytest.mark.parametrize("case", LARGE)
def test_looking_takes_no_longer_than_it_may(case: str) -> None:
    """The way is told as far as it is known then."""
    obj = LARGE[case]()
    began = time.thread_time()
    assert blame(obj, "args")[0].startswith("args")
    assert time.thread_time() - began < 5 * LONGEST_LOOK
