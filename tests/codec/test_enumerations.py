"""Enumerations of a script on the other side: `there` has not met them before."""

from __future__ import annotations

import pickle
import sys
from io import BytesIO
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import by_value, class_numbers

SCRIPT = """
import datetime, enum, functools

class Planet(enum.Enum):
    EARTH = (6, 2)
    MARS = (3, 4)
    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius
    @property
    def gravity(self): return self.mass / self.radius

class Way(enum.Enum):
    FAST = 1
    QUICK = 1
    SLOW = 2

class Permission(enum.Flag):
    READ = 4
    WRITE = 2
    BOTH = 6
    NONE = 0

class Coin(int, enum.Enum):
    def __new__(cls, value, label):
        made = int.__new__(cls, value * 100)
        made._value_, made.label = value, label
        return made
    PENNY = 1, "penny"

class Pair(tuple, enum.Enum):
    ONE = (1, 2)

class Period(datetime.timedelta, enum.Enum):
    DAY = 1
    WEEK = 7

class Kept(enum.IntFlag, boundary=enum.KEEP):
    ONE = 1

class Operation(enum.Enum):
    ADD = ("+", lambda one, two: one + two)
    def __init__(self, sign, function):
        self.function = function
    def __call__(self, *args): return self.function(*args)

class Named(enum.Enum):
    @staticmethod
    def _generate_next_value_(name, start, count, last): return name.lower()
    @classmethod
    def _missing_(cls, value): return cls.FIRST
    FIRST = enum.auto()

class Lists(enum.Enum):
    ONE = [1]
    name = 5

class Own(enum.Enum):
    ONE = 1
    def __reduce_ex__(self, protocol): return Own, (1,)

Made = enum.Enum("Made", "ONE TWO")
"""

SAME = """
assert (Planet.EARTH.mass, Planet.EARTH.gravity) == (6, 3.0)
assert Planet((3, 4)) is Planet.MARS and vars(Planet.MARS)["radius"] == 4
assert list(Way) == [Way.FAST, Way.SLOW] and Way.QUICK is Way.FAST
assert list(Way.__members__) == ["FAST", "QUICK", "SLOW"]
assert list(Permission.__members__) == ["READ", "WRITE", "BOTH", "NONE"]
assert list(Permission) == [Permission.WRITE, Permission.READ] or list(Permission) == [
    Permission.READ, Permission.WRITE]
assert Permission.BOTH is Permission.READ | Permission.WRITE and not Permission.NONE
assert (int(Coin.PENNY), Coin.PENNY.value, Coin.PENNY.label) == (100, 1, "penny")
assert Coin(1) is Coin.PENNY
assert Pair.ONE == (1, 2) and Pair.ONE[1] == 2
assert Period.WEEK == datetime.timedelta(7) and Period.DAY < Period.WEEK
assert Kept(8).value == 8
assert Operation.ADD(2, 3) == 5
assert Named.FIRST.value == "first" and Named("none") is Named.FIRST
assert Named._generate_next_value_("X", 1, 0, []) == "x"
assert Lists([1]) is Lists.ONE and Lists.name.value == 5
assert Own.ONE.value == 1
assert [each.name for each in Made] == ["ONE", "TWO"]
"""

NAMES = ["Planet", "Way", "Permission", "Coin", "Pair", "Period", "Kept", "Operation", "Named"]
NAMES += ["Lists", "Own", "Made"]
MEMBERS = ["Planet.EARTH", "Way.QUICK", "Permission.BOTH", "Permission.NONE", "Permission(7-1)"]
MEMBERS += ["Coin.PENNY", "Pair.ONE", "Period.DAY", "Operation.ADD", "Named.FIRST", "Lists.ONE"]
MEMBERS += ["Own.ONE", "Made.TWO", "Kept(9)"]


def _packed(obj: Any) -> bytes:
    file = BytesIO()
    by_value.pickler()(file, protocol=5).dump(obj)
    return file.getvalue()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The script's names, of which only texts are left when the test asks for them."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(SCRIPT, "script.py", "exec"), vars(main))
    return vars(main)


def _forget(script: dict[str, Any]) -> None:
    """As in another process: what is rebuilt is not what is here."""
    script.clear()
    script["__name__"] = "__main__"
    cloudpickle: Any = class_numbers._cloudpickle()
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()


def test_enumerations_are_on_the_other_side_as_they_were(script: dict[str, Any]) -> None:
    """With attributes, aliases, several bits, other bases and their methods."""
    exec(SAME, script)
    packed = _packed({name: script[name] for name in NAMES})
    _forget(script)
    there = {**pickle.loads(packed), "datetime": __import__("datetime")}
    exec(SAME, there)


@pytest.mark.parametrize("member", MEMBERS)
def test_members_are_those_of_their_class(script: dict[str, Any], member: str) -> None:
    """Also where their value equals no copy of itself, and where they are in C's pickle."""
    name = member.partition(".")[0].partition("(")[0]
    made = eval(member, script)
    packed = _packed((script[name], made))
    assert pickle.loads(packed)[1] is made
    _forget(script)
    kind, there = pickle.loads(packed)
    assert there is eval(member, {name: kind})


def test_enumeration_whose_base_makes_its_part_otherwise_tells_its_own_error(
    script: dict[str, Any],
) -> None:
    """What a class says when it is asked for its parts is not hidden."""
    exec(
        "class Base:\n"
        "    def __new__(cls, *args): return object.__new__(cls)\n"
        "    def __getnewargs__(self): raise RuntimeError('not this')\n"
        "class Refuses(Base, enum.Enum):\n    ONE = 1\n",
        script,
    )
    with pytest.raises(RuntimeError, match="not this"):
        _packed(script["Refuses"])
