"""An exception made anew from its parts; `test_exceptions` has whole ways there and back."""

from __future__ import annotations

from typing import Any

import pytest

from bgpy.codec.revival import (
    ARGS,
    base_of,
    begin_anew,
    begin_blank,
    begin_group,
    begin_their_way,
    finish_anew,
    finish_blank,
    finish_their_way,
    places,
)
from tests.support.touchy import Touchy


class Counting(Exception):
    """Counts how often its constructor is called, and hands on what it is given."""

    made = 0

    def __init__(self, *given: Any) -> None:
        type(self).made += 1
        super().__init__(*given)


class Copying(Counting):
    """Hands on an equal text that is another object."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(list(text)))


class Wording(Exception):
    """Hands on something else than it takes."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}")


class Slotted(Exception):
    """With a slot."""

    __slots__ = ("held",)


def _named(kind: type) -> tuple[str, str, None]:
    return kind.__module__, kind.__qualname__, None


@pytest.mark.parametrize(
    ("kind", "given"), [(Counting, (1, "two", (3,))), (Copying, ("some text",)), (Counting, ())]
)
def test_begin_anew_calls_the_class_once_if_that_gives_the_same(
    kind: type[Counting], given: Any
) -> None:
    """The same objects, or equal plain ones."""
    kind.made = 0
    error = begin_anew(*_named(kind), given, given)
    assert (type(error), error.args, kind.made) == (kind, given, 1)


def test_begin_anew_asks_no_argument_whether_it_is_equal() -> None:
    """An array would say many things, and others raise."""
    value = Touchy()
    error = begin_anew(*_named(Counting), (value,), (value,))
    assert error.args[0] is value
    other = begin_anew(*_named(Counting), (value,), (Touchy(),))
    assert other.args[0] is not value


def test_begin_anew_goes_past_a_constructor_that_gives_something_else() -> None:
    """One that adds to the text, or fails for it."""
    error = begin_anew(*_named(Wording), ("number 3",), ("number 3",))
    assert (type(error), error.args) == (Wording, ("number 3",))


def test_begin_raises_for_a_class_that_is_none_of_exceptions() -> None:
    """A pickle may name anything."""
    for begin in (lambda: begin_anew(*_named(int), (), ()), lambda: begin_blank(*_named(int))):
        with pytest.raises(TypeError, match=r"builtins\.int is no Exception here"):
            begin()


def test_finish_blank_sets_what_a_constructor_would_have() -> None:
    """Arguments, attributes and slots."""
    error: Any = begin_blank(*_named(Slotted))
    [(key, _)] = places(Slotted)
    finish_blank(error, ((1, 2), {"note": "x"}, {key: "in it"}))
    assert (ARGS.__get__(error), error.note, error.held) == ((1, 2), "x", "in it")
    finish_anew(error, ({}, {("Other", "more"): 5}))
    assert error.more == 5
    assert base_of(Slotted) is Exception


def test_their_way_is_left_where_it_leads_nowhere() -> None:
    """The exception is then made as any other, with its attributes."""
    way: list[bool] = []
    error: Any = begin_their_way(way, (int, ("3",)), *_named(Counting), (1,), (1,))
    finish_their_way(error, (way, (), {"note": "x"}, {}))
    assert (way, type(error), error.args, error.note) == ([], Counting, (1,), "x")
    error = begin_their_way(way, (KeyError, ("k",)), *_named(Counting), (1,), (1,))
    finish_their_way(error, (way, ({"note": "theirs"},), {"note": "x"}, {}))
    assert (way, type(error), error.note) == ([True], KeyError, "theirs")


def test_begin_group_makes_it_of_these_members() -> None:
    """Past its constructor, whatever that takes."""
    members: list[Exception] = [KeyError("k")]
    group = begin_group(*_named(BaseExceptionGroup), "text", members)
    assert (type(group), group.message, group.exceptions) == (
        ExceptionGroup,
        "text",
        tuple(members),
    )
