"""What of an exception's parts travels, and what is told of the rest."""

from __future__ import annotations

from typing import Any

from bgpy.codec.left_behind import Parts, Sorting, noted
from bgpy.codec.revival import StandIn


class Stuck:
    """Can't travel."""

    def __str__(self) -> str:
        return "stuck"

    def __repr__(self) -> str:
        raise RuntimeError


def _is_free(value: Any) -> bool:
    return not isinstance(value, Stuck) and not (isinstance(value, tuple) and _holds(value))


def _holds(value: tuple[Any, ...]) -> bool:
    return any(isinstance(each, Stuck) for each in value)


def test_parts_that_travel_stay_what_they_are() -> None:
    """And nothing is told."""
    parts = Parts((1,), (2,), {"a": 3}, {("Kind", "b"): 4})
    assert Sorting(_is_free).of(ValueError(), parts) == parts
    assert noted(parts) is parts.attributes


def test_arguments_that_stay_behind_have_stand_ins_with_their_texts() -> None:
    """One for each object, also where it was given twice; one whose text fails is named."""
    stuck = Stuck()
    parts = Parts((stuck, 1), (1, stuck), {"a": stuck, "b": 2}, {("Kind", "c"): stuck})
    found = Sorting(_is_free).of(ValueError(), parts)
    stand_in = found.args[1]
    assert isinstance(stand_in, StandIn)
    assert found.given == (stand_in, 1)
    assert (str(stand_in), repr(stand_in)) == ("stuck", f"<{__name__}.Stuck>")
    assert (found.attributes, found.held) == ({"b": 2}, {})
    assert [each.partition(" (")[0] for each in found.left] == [
        *("argument 2", "attribute 'a'", "attribute 'c'")
    ]


def test_each_exception_is_sorted_once() -> None:
    """One that its own parts lead back to is empty until then."""
    error = ValueError()
    seen: list[Parts] = []

    def travels(value: Any) -> bool:
        seen.append(sorting.of(error, parts))
        return True

    sorting = Sorting(travels)
    parts = Parts((), (5,), {}, {})
    assert sorting.of(error, parts).args == (5,)
    assert seen == [Parts((), (), {}, {})]
    assert sorting.of(error, parts).args == (5,)
    assert len(seen) == 1
