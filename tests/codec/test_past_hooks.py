"""Classes of a script whose making the script has a hand in, on the other side."""

from __future__ import annotations

import pickle
import sys
from io import BytesIO
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import by_value, class_numbers

SCRIPT = """
import abc, collections.abc, dataclasses, typing
T = typing.TypeVar("T")
KNOWN = []

def register(cls, /, *, tag, **keywords):
    if (cls.__name__, tag) in KNOWN:
        raise ValueError(cls.__name__)
    KNOWN.append((cls.__name__, tag))
    cls.tag = tag

class Plain:
    __init_subclass__ = classmethod(register)
class OfPlain(Plain, tag="a"):
    def same(self): return __class__ is type(self) and super().__init__() is None
class OfBoth(OfPlain, dict, tag="b"): pass

class Empty:
    __slots__ = ()
    __init_subclass__ = classmethod(register)
class OfEmpty(Empty, tag="c"):
    __slots__ = ("one",)
class OfOne(OfEmpty, tag="d"):
    def __init__(self): self.one = self.two = 2
class Map(collections.abc.Mapping):
    __init_subclass__ = classmethod(register)
    def __getitem__(self, key): return key
    def __iter__(self): return iter(())
    def __len__(self): return 0
class OfMap(Map, tag="e"): pass
class OnlyDict(Empty, tag="n"):
    __slots__ = ("__dict__",)
class OfOnlyDict(OnlyDict, tag="f"): pass

class Failure(Exception):
    __init_subclass__ = classmethod(register)
class OfFailure(Failure, tag="g"): pass

class Generic(typing.Generic[T]):
    __init_subclass__ = classmethod(register)
class OfGeneric(Generic[int], tag="h"): pass
class StillGeneric(Generic[T], tag="i"): pass

class Abstract(abc.ABC):
    __init_subclass__ = classmethod(register)
    @abc.abstractmethod
    def size(self): ...
class OfAbstract(Abstract, tag="j"):
    def size(self): return 5
class StillAbstract(Abstract, tag="k"): pass

@dataclasses.dataclass
class OfData(Plain, tag="l"):
    x: int = 1
@dataclasses.dataclass(slots=True)
class OfSlots:
    x: int = 1

class Meta(type):
    def __new__(cls, name, bases, names, *, opened):
        made = super().__new__(cls, name, bases, names)
        KNOWN.append((name, opened))
        return made
    def __init__(self, name, bases, names, *, opened): super().__init__(name, bases, names)
    def __setattr__(self, name, value): raise AttributeError(name)
class OfMeta(metaclass=Meta, opened=True):
    def kind(self): return OfMeta

class Row(typing.TypedDict):
    one: int
class More(Row, total=False):
    two: int
class Order:
    second = 1
    first = 2
"""

SAME = """
assert OfPlain.tag == "a" and OfPlain().same()
assert OfBoth(a=1) == {"a": 1} and OfBoth.__mro__[1:] == (OfPlain, Plain, dict, object)
assert not hasattr(OfEmpty(), "__dict__") and OfOne().one == OfOne().two == 2
assert vars(OfOnlyDict()) == {} and OfMap()[3] == 3 and not OfMap()
assert OfFailure("why").args == ("why",) and issubclass(OfFailure, Failure)
assert OfGeneric.__orig_bases__ == (Generic[int],) and StillGeneric[str].__args__ == (str,)
assert OfAbstract().size() == 5 and StillAbstract.__abstractmethods__ == {"size"}
assert isinstance(OfAbstract(), Abstract)
assert OfData(2).x == 2 and OfData() == OfData()
assert OfMeta().kind() is OfMeta and type(OfMeta) is Meta
assert More.__optional_keys__ == {"two"} and More(two=1) == {"two": 1}
assert [each for each in vars(Order) if each[0] != "_"] == ["second", "first"]
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of a script."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(SCRIPT, "script.py", "exec"), vars(main))
    return vars(main)


def _packed(obj: Any) -> bytes:
    file = BytesIO()
    by_value.pickler()(file, protocol=5).dump(obj)
    return file.getvalue()


def _forget() -> None:
    cloudpickle: Any = class_numbers._cloudpickle()
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()


def test_classes_are_made_without_what_their_statements_called(script: dict[str, Any]) -> None:
    """It can't be called again as it was, and has done what it does."""
    exec(SAME, script)
    known = list(script["KNOWN"])
    names = [name for name, value in script.items() if isinstance(value, type)]
    packed = _packed({name: script[name] for name in names} | {"KNOWN": known})
    script.clear()
    script["__name__"] = "__main__"
    _forget()
    there = pickle.loads(packed)
    exec(SAME, there)
    assert there["KNOWN"] == known


def test_class_that_is_here_is_not_made_again(script: dict[str, Any]) -> None:
    """Neither where it was defined nor where it has come before."""
    packed = _packed(script["OfPlain"]), _packed(script["OfMeta"])
    for _ in range(2):
        assert pickle.loads(packed[0]) is script["OfPlain"]
        assert pickle.loads(packed[1]) is script["OfMeta"]


def test_hooks_run_for_the_classes_that_code_defines_there(script: dict[str, Any]) -> None:
    """The shield is gone once a class is made."""
    packed = _packed(script["OfPlain"])
    _forget()
    script["OfPlain"] = None
    there = pickle.loads(packed)
    assert there.__mro__[1].__name__ == "Plain"
    assert type("New", (there,), {}, tag="new").tag == "new"  # type: ignore[attr-defined]
