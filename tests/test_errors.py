"""Errors carry what is known, keep it in copies, and have one text for each interface."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
from collections.abc import Callable

import pytest

from bgpy import errors
from bgpy.errors import Advice, BgpyError

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, BgpyError)
]


def pickled(error: BgpyError) -> BgpyError:
    made: BgpyError = pickle.loads(pickle.dumps(error))
    return made


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_error_knows_survives(
    kind: type[BgpyError], again: Callable[[BgpyError], BgpyError]
) -> None:
    error = kind(
        "it broke",
        advice=Advice("give x=1", "give --x"),
        address=("box", 1),
        pid=7,
        log_file="/log",
        progress="started",
    )
    error.remote = True
    same = again(error)
    assert type(same) is kind
    assert same.__dict__ == error.__dict__
    assert same.args == ("it broke",)
    assert (same.problem, str(same)) == ("it broke", "('box', 1): it broke: give x=1")
    assert same.text("cli") == "('box', 1): it broke: give --x"


def test_text_names_the_server_once() -> None:
    """In the words of the problem where those do, else before them."""
    assert str(BgpyError("it broke", address="box:1")) == "box:1: it broke"
    assert str(BgpyError("box:1 broke", address="box:1")) == "box:1 broke"
    assert str(BgpyError(address="box:1")) == "box:1"
    assert str(BgpyError(address="box:1", advice="mend it")) == "box:1: mend it"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_knows_nothing_reads_as_its_text(kind: type[BgpyError]) -> None:
    assert str(kind("it broke")) == kind("it broke").text("cli") == "it broke"
    assert str(kind()) == ""
    assert not kind("it broke").remote


def test_advice_in_one_wording_holds_for_both_interfaces() -> None:
    error = BgpyError("it broke", advice="mend it")
    assert str(error) == error.text("cli") == "it broke: mend it"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, tuple[str, str]] = {}
    above: list[str] = ["BgpyError"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ]*)[├└]── (\w+) +(\w+)?", line)
        if match is not None:
            depth = 1 + len(match[1]) // 4
            above[depth:] = [match[2]]
            drawn[match[2]] = (above[depth - 1], match[3] or "")
    for kind in KINDS[1:]:
        parent, builtin = drawn.pop(kind.__name__)
        assert kind.__bases__[0].__name__ == parent
        assert not hasattr(builtins, builtin) or issubclass(kind, getattr(builtins, builtin))
    assert not drawn
