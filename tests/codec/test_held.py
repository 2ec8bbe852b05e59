"""What closures and objects hold."""

from __future__ import annotations

import datetime
from typing import Any

from bgpy.codec.held import held_by, held_in
from tests.support.touchy import Touchy


class Slotted:
    __slots__ = ("__dict__", "empty", "full")


class Below(Slotted):
    pass


def test_objects_hold_attributes_and_what_is_in_their_slots() -> None:
    """Those of bases, too; an empty slot holds nothing."""
    made = Below()
    made.full, made.other = 1, 2  # type: ignore[attr-defined]
    assert dict(held_by(made)) == {"full": 1, "other": 2}


def test_objects_are_not_asked_and_those_in_c_hold_nothing() -> None:
    """What a class in C has is no attribute that could be set."""
    assert dict(held_by(Touchy())) == {}
    assert dict(held_by(datetime.timedelta(1))) == {}


def test_cells_hold_a_value_or_are_empty() -> None:
    """An empty one stands for itself."""

    def outer(filled: bool) -> Any:
        def inner() -> Any:
            return value

        if filled:
            value = 5
        return inner.__closure__[0]  # type: ignore[index]

    assert held_in(outer(True)) == 5
    empty = outer(False)
    assert held_in(empty) is empty
