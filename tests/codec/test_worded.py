"""Exceptions that bring their text along, since it was made from what was left behind."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from bgpy.codec.exceptions import pack, unpack
from bgpy.codec.failures import describe, rebuild
from bgpy.codec.worded import MOST_SUBCLASSES, is_worded, keep_text
from tests.support.builds import IMMORTAL, NEVER_DROPPED

told: list[str] = []


class Registering(Exception):
    """Is told of each class that is made from it."""

    def __init_subclass__(cls, *, code: int, **more: Any) -> None:
        super().__init_subclass__(**more)
        told.append(f"{cls.__qualname__} {code}")


class Final(type):
    """Lets nobody make a class from one of its own."""

    def __new__(cls, name: str, bases: Any, body: Any, **more: Any) -> Any:
        assert not any(type(base) is cls for base in bases)
        return super().__new__(cls, name, bases, body, **more)


class Locked(Registering, metaclass=Final, code=5):
    """Makes its text from a lock."""

    __slots__ = ("slot",)

    def __init__(self, why: str, lock: Any) -> None:
        super().__init__(why)
        self.lock = lock
        self.slot = self.count = 3

    def __str__(self) -> str:
        return f"{self.args[0]} locked: {self.lock.locked()}"


class Several(ExceptionGroup[Exception]):
    """So does a group."""

    lock: Any

    def __str__(self) -> str:
        return f"{self.message}: {self.lock.locked()}"


def _locked() -> Exception:
    return Locked("why", threading.Lock())


def _several() -> Exception:
    group = Several("several", [ValueError(1)])
    group.lock = threading.Lock()
    return group


def _hop(error: Any) -> Any:
    """What arrives at the caller of a server where that was raised."""
    words = describe(error)
    assert words.payload is not None
    return rebuild(*words[:3], *words.payload)


def _pickled(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


WAYS: list[Callable[[Any], Any]] = [
    _hop,
    _pickled,
    lambda error: pickle.loads(pickle.dumps(error, protocol=2)),
    copy.copy,
    copy.deepcopy,
]


@pytest.mark.parametrize("first", [_locked, _several])
@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("third", WAYS[:3])
def test_type_and_text_stay_on_all_ways(
    first: Callable[[], Exception], second: Callable[[Any], Any], third: Callable[[Any], Any]
) -> None:
    """Through further servers, process pools and copies."""
    error = first()
    there = third(second(_hop(error)))
    assert isinstance(there, type(error))
    assert (str(there), there.args[0]) == (str(error), error.args[0])
    assert (type(there).__qualname__, type(there).__module__) == (
        type(error).__qualname__,
        __name__,
    )
    if first is _locked:
        assert vars(there).keys() >= {"count"}
    else:
        assert isinstance(there, ExceptionGroup)
        assert there.exceptions[0].args == (1,)
    assert sum("left behind" in note for note in there.__notes__) == 1


def test_no_class_is_made_for_each_failure_and_the_users_code_hears_of_none() -> None:
    """Neither what registers classes nor what refuses them."""
    kinds = {type(_hop(_locked())) for _ in range(20)}
    assert len(kinds) == 1
    assert told == ["Locked 5"]
    assert len(Locked.__subclasses__()) == 1


@pytest.mark.skipif(IMMORTAL, reason=NEVER_DROPPED)
def test_classes_that_come_and_go_are_collected() -> None:
    """The last ones are kept for the next failure."""

    def worded() -> weakref.ref[type]:
        error = type("Brief", (Exception,), {})("as it is")
        keep_text(error, "another text")
        assert is_worded(error)
        return weakref.ref(type(error))

    first, *others = [worded() for _ in range(MOST_SUBCLASSES + 1)]
    gc.collect()
    assert first() is None
    assert others[0]() is not None


def test_text_is_brought_only_where_the_class_says_another() -> None:
    """One that may be cut off isn't another."""
    for error, text, is_cut in [
        (OSError(2, "no"), "other", False),
        (Several("s", [ValueError()]), "s", True),
        (Plain("why"), "why", False),
        (Plain("why not"), "why", True),
    ]:
        if isinstance(error, Several):
            error.lock = threading.Lock()
        keep_text(error, text, is_cut)
        assert not is_worded(error)
    error = Plain("why not")
    keep_text(error, "why", is_cut=False)
    assert (str(error), is_worded(error)) == ("why", True)


class Plain(Exception):
    """Says what it was given."""


class Held:
    """What an exception holds; not to be imported later."""

    status = 404


class Absence(Exception):
    """Says what it holds."""

    def __init__(self, held: Held) -> None:
        super().__init__("absent")
        self.held = held

    def __str__(self) -> str:
        return f"status {self.held.status}"


def test_text_that_needs_what_cannot_be_imported_is_brought(monkeypatch: Any) -> None:
    """As the one that arrives can't make it."""
    held = Held()
    held.status = 404
    packed = pack(Absence(held))
    assert packed is not None
    monkeypatch.delattr(sys.modules[__name__], "Held")
    there = unpack(packed, None, "status 404")
    assert isinstance(there, Absence)
    assert str(there) == str(_hop(there)) == str(_pickled(_hop(there))) == "status 404"
