"""What goes by value; `tests/api/test_scripts.py` tries names and lines of real scripts."""

from __future__ import annotations

import copyreg
import functools
import linecache
import pickle
import sys
import threading
import typing
import weakref
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest

from bgpy.codec import by_value


def _there(obj: Any) -> Any:
    file = BytesIO()
    by_value.pickler()(file, protocol=5).dump(obj)
    return pickle.loads(file.getvalue())


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of this process's script."""
    scope = vars(sys.modules["__main__"])
    for name in ("UserId", "P", "T", "CONSTANT", "Constant", "cached", "Slots"):
        monkeypatch.setitem(scope, name, None)
    return scope


def test_function_keeps_its_file_and_line() -> None:
    """And those within it theirs."""

    def outer() -> Any:
        return lambda: 1 / 0

    there = _there(outer)
    assert there.__code__.co_filename == __file__
    assert there.__code__.co_firstlineno == outer.__code__.co_firstlineno
    assert there().__code__ == outer().__code__
    assert there().__code__.co_filename == __file__


def test_lines_come_from_the_loader_where_there_is_no_file() -> None:
    """As those of a program in a zip archive."""
    text = "def f():\n    return 5\n"
    loader = SimpleNamespace(get_source=lambda name: text)
    scope: dict[str, Any] = {"__name__": "elsewhere", "__loader__": loader}
    exec(compile(text, "/no/such.zip/elsewhere.py", "exec"), scope)
    there = _there(scope["f"])
    assert linecache.getlines(there.__code__.co_filename) == text.splitlines(keepends=True)


def test_globals_of_classes_within_a_function_go_along() -> None:
    """Their bodies look in the class first, and cloudpickle only for what functions look up."""
    scope: dict[str, Any] = {"LIMIT": 5, "first": threading.Lock(), "__name__": "elsewhere"}
    text = "def f():\n class Made:\n  first = LIMIT\n  second = first\n return Made.second"
    exec(compile(text, "<command>", "exec"), scope)
    assert _there(scope["f"])() == 5


def test_lines_are_not_sent_where_there_are_none() -> None:
    """Of a command, or a file that is gone."""
    scope: dict[str, Any] = {}
    exec(compile("def f(): return 5", "<command>", "exec"), scope)
    assert _there(scope["f"])() == 5
    assert "<command>" not in linecache.cache


def test_named_things_of_a_script_are_the_same_ones_when_they_return(main: dict[str, Any]) -> None:
    """Pickle alone would look for their name on the other side."""
    exec(
        "import functools, typing\n"
        "UserId = typing.NewType('UserId', int)\n"
        "P = typing.ParamSpec('P')\n"
        "T = typing.TypeVar('T', int, str)\n"
        "class Constant:\n"
        "    __slots__ = ('value', '__weakref__')\n"
        "    def __reduce__(self): return 'CONSTANT'\n"
        "CONSTANT = Constant()\n"
        "CONSTANT.value = 5\n"
        "@functools.lru_cache(maxsize=3, typed=True)\n"
        "def cached(n): return n and cached(n - 1)\n"
        "cached.note = 'x'\n",
        main,
    )
    for name in ("UserId", "P", "T", "CONSTANT", "cached"):
        assert _there(main[name]) is main[name]


def test_named_things_are_made_anew_where_they_are_not_yet(
    main: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the other side, which has never met them."""
    exec(
        "import functools\n"
        "@functools.lru_cache(maxsize=3, typed=True)\n"
        "def cached(n): return n and cached(n - 1)\n"
        "cached.note = 'x'\n"
        "class Constant:\n"
        "    def __reduce__(self): return 'CONSTANT'\n"
        "CONSTANT = Constant()\n"
        "CONSTANT.value = 5\n"
        "import typing\n"
        "T = typing.TypeVar('T', int, str, contravariant=True)\n",
        main,
    )
    file = BytesIO()
    by_value.pickler()(file, protocol=5).dump((main["cached"], main["CONSTANT"], main["T"]))
    monkeypatch.setattr("bgpy.codec.arrival._here", weakref.WeakValueDictionary())
    cached, constant, variable = pickle.loads(file.getvalue())
    assert variable is not main["T"]
    assert (variable.__module__, variable.__constraints__) == ("__main__", (int, str))
    assert variable.__contravariant__
    assert cached is not main["cached"]
    assert (cached(2), cached.note) == (0, "x")
    assert cached.cache_parameters() == {"maxsize": 3, "typed": True}
    assert constant is not main["CONSTANT"]
    assert constant.value == 5


def test_slots_are_slots_on_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also private ones, inherited ones, and a `__dict__` among them."""

    class Base:
        __slots__ = ("__private", "one")

        def set(self, value: int) -> Any:
            self.__private = value
            return self.__private

    class Open(Base):
        __slots__: typing.ClassVar = {"__dict__": "", "two": "documented"}

    class Text(Base):
        __slots__ = "text"

    copyreg._slotnames(Open)  # type: ignore[attr-defined]
    file = BytesIO()
    by_value.pickler()(file, protocol=5).dump((Base, Open, Text))
    forget: Any = sys.modules["cloudpickle.cloudpickle"]
    monkeypatch.setattr(forget, "_DYNAMIC_CLASS_TRACKER_BY_ID", weakref.WeakValueDictionary())
    base, opened, text = pickle.loads(file.getvalue())
    assert base is not Base
    assert base.__qualname__ == Base.__qualname__
    assert base().set(5) == 5
    assert not hasattr(base(), "__dict__")
    made = opened()
    made.one, made.two, made.other = 1, 2, 3
    assert vars(made) == {"other": 3}
    assert not hasattr(text(), "__dict__")
    text().text = 5
    told = [each.__slots__ for each in (base, opened, text)]
    assert told == [each.__slots__ for each in (Base, Open, Text)]


def test_cached_property_travels() -> None:
    """It holds a lock up to Python 3.11."""

    class Kind:
        @functools.cached_property
        def value(self) -> int:
            return 5

    made = _there(Kind())
    assert (made.value, vars(made)) == (5, {"value": 5})


def test_constants_that_call_each_other_equal_stay_two(main: dict[str, Any]) -> None:
    """They are known again by what they are, not by their own `__eq__` and `__hash__`."""
    exec(
        "class Constant:\n"
        "    def __init__(self, name): self.name = name\n"
        "    def __eq__(self, other): return True\n"
        "    def __hash__(self): return 1\n"
        "    def __reduce__(self): return self.name\n"
        "ONE, OTHER = Constant('ONE'), Constant('OTHER')\n",
        main,
    )
    one, other = _there((main["ONE"], main["OTHER"]))
    assert one is main["ONE"]
    assert other is main["OTHER"]
