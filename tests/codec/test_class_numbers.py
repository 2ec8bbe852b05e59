"""Classes of a script are known again: in each run of it, and by what they are."""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import class_numbers
from bgpy.codec.by_value import cloudpickle
from bgpy.codec.class_numbers import is_called, is_other, number, of_name, of_number, told, tracked
from bgpy.codec.payload import decode, encode

IMMORTAL = not getattr(sys, "_is_gil_enabled", lambda: True)()
"""Free-threaded builds keep some objects for ever."""

TEXT = """
import dataclasses, enum, typing
LIMIT = 1
def step(x): return x + LIMIT
@dataclasses.dataclass
class Record:
    a: int
    b: list = dataclasses.field(default_factory=list)
    def step(self): return step(self.a)
class Color(enum.Enum):
    RED = 1
class Row(typing.NamedTuple):
    a: int
    b: int = LIMIT
class Vague:
    told_by = SomeObject
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines the script's names, in place of what was there."""
    cloudpickle()

    def run(text: str) -> dict[str, Any]:
        made = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", made)
        exec(compile(text, "script.py", "exec", dont_inherit=True), vars(made))
        return vars(made)

    return run


OBJECT = "import threading\nSomeObject = threading.Lock()\n"


@pytest.mark.parametrize("name", ["Record", "Color", "Row"])
def test_number_is_the_same_in_each_run_of_a_script(script: Any, name: str) -> None:
    """It is that of what the class is made of, and of what it uses of the script."""
    first = number(script(OBJECT + TEXT)[name])
    assert first is not None
    assert number(script("\n# moved\n" + OBJECT + TEXT)[name]) == first


@pytest.mark.parametrize(
    "edit",
    [
        ("LIMIT = 1", "LIMIT = 2"),
        ("x + LIMIT", "x - LIMIT"),
        ("a: int", "z: int = 1\n    a: int = 0"),
    ],
)
def test_number_is_another_where_a_class_or_what_it_uses_was_edited(
    script: Any, edit: tuple[str, str]
) -> None:
    """Then it is another class, as it was before."""
    first = number(script(OBJECT + TEXT)["Record"])
    assert number(script(OBJECT + TEXT.replace(*edit))["Record"]) not in (None, first)


def test_number_stays_where_a_class_has_changed_what_it_keeps(script: Any) -> None:
    """How many objects were made before the first was sent says nothing of the class."""
    text = (
        "class Kept:\n"
        "    made, only, rate = 0, None, 1\n"
        "    def __new__(cls):\n"
        "        cls.only = cls.only or super().__new__(cls)\n"
        "        return cls.only\n"
        "    def __init__(self):\n"
        "        Kept.made += 1\n"
    )
    first = number(script(text)["Kept"])
    assert first is not None
    used = script(text)["Kept"]
    used(), used()
    assert number(used) == first
    assert number(script(text.replace("rate = 0, None, 1", "rate = 0, None, 2"))["Kept"]) != first


def test_classes_that_use_each_other_are_two(script: Any) -> None:
    """Both are made of the same: one arrived as the other."""
    names = script("class One: ...\nclass Two(One):\n    other = One\nOne.other = Two\n")
    assert None is not number(names["One"]) != number(names["Two"]) is not None
    for each in ("One", "Two"):
        assert decode(*encode(names[each], "args"), "args") is names[each]


def test_number_is_not_told_where_a_change_would_not_be_seen(script: Any) -> None:
    """A class with an object that is no plain constant, and one that has no name in the script."""
    names = script(OBJECT + TEXT + "def make():\n    class Inner: ...\n    return Inner\n")
    assert number(names["Vague"]) is None
    assert number(names["make"]()) is None
    shadowed = names["Record"]
    names["Record"] = None
    assert number(shadowed) is None
    assert number(type("Metaclass", (type,), {"__hash__": None})("Touchy", (), {})) is None


def test_object_of_another_run_is_of_the_class_that_is_here(script: Any) -> None:
    """Also where this process has sent nothing yet; methods use this script's globals."""
    names = script(OBJECT + TEXT)
    packed = encode([names["Record"](8), names["Color"].RED], "response")
    del names
    gc.collect()
    class_numbers._cloudpickle()._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    names = script(OBJECT + TEXT)
    assert not isinstance(packed, bytes)
    record, color = decode(*packed, "response")
    assert record == names["Record"](8)
    assert color is names["Color"].RED
    assert record.step() == 9


def test_tracked_knows_classes_that_have_gone_by_value() -> None:
    """And no others; it keeps none of them."""

    class Kind: ...

    assert tracked(Kind) is None
    encode(Kind, "args")
    number = tracked(Kind)
    assert number is not None
    assert of_number(number, "Kind") is Kind
    del Kind
    gc.collect()
    assert IMMORTAL or of_number(number, "Kind") is None


def test_classes_by_a_name_are_found_as_long_as_they_are_there(script: Any) -> None:
    """Those that have gone or come; what is told of one gives it no number."""
    names = script(OBJECT + TEXT)
    ours = told(first := names["Record"])
    assert tracked(first) is None
    assert first not in of_name("Record")
    assert number(first) == ours
    assert first in of_name("Record")
    edited = script(OBJECT + TEXT.replace("x + LIMIT", "x - LIMIT"))["Record"]
    assert is_other(told(edited), ours)
    assert not is_other(ours, ours)
    number(edited)
    assert {first, edited} <= set(of_name("Record"))
    vague = script(OBJECT + TEXT)["Vague"]
    assert not is_other(told(vague), ours)
    assert not is_other(ours, told(vague))


def test_of_classes_of_another_python_nothing_is_known() -> None:
    """Their instructions may be others."""
    assert is_other("script 3.11.7 one", "script 3.11.7 other")
    assert not is_other("script 3.11.7 one", "script 3.12.0 other")


def test_is_called_asks_no_metaclass(script: Any) -> None:
    """Neither of a class nor of an object that isn't one."""
    names = script(
        "class Touchy(type):\n"
        "    def __getattribute__(cls, name): raise RuntimeError(name)\n"
        "    def __instancecheck__(cls, other): raise RuntimeError\n"
        "class Kind(metaclass=Touchy): ...\n"
    )
    assert is_called(names["Kind"], "Kind")
    assert not is_called(names["Kind"](), "Kind")
    assert not is_called(names["Kind"], "Touchy")
    assert not is_called(OSError, "OSError")
