"""Errors carry what is known, keep it in copies, and have one text for each interface."""

from __future__ import annotations

import ast
import builtins
import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path

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


@pytest.mark.parametrize(
    ("address", "problem", "named"),
    [
        ("127.0.0.1:5432", "nothing answers at 127.0.0.1:54321", False),
        ("127.0.0.1:54321", "nothing answers at 127.0.0.1:54321.", True),
        ("127.0.0.1:54321", "the server at 127.0.0.1:54321: it broke", True),
        ("127.0.0.1:54321", "'bgpy doctor 127.0.0.1:54321' says (127.0.0.1:54321)", True),
        ("10.0.0.1:5", "110.0.0.1:5 broke", False),
        ("0.0.1:5", "10.0.0.1:5 broke", False),
        ("0.0.1:5", "10.0.0.1:5 broke, 0.0.1:5 too", True),
        ("::1]:5", "[::1]:5 broke", False),
        ("[::1]:5", "no answer from [::1]:5, within 3 s", True),
        ("unix:/run/a", "no socket at unix:/run/a.sock", False),
        ("unix:/run/a", "no socket at unix:/run/a/b", False),
        ("unix:/run/a", "no socket at unix:/run/a-b", False),
        ("unix:/run/a.b", "no socket at unix:/run/a-b", False),
        ("unix:/run/a", "no socket at unix:/run/a", True),
        ("box:1", "mailbox:1 broke", False),
    ],
)
def test_text_names_the_server_where_it_names_one_that_looks_like_it(
    address: str, problem: str, named: bool
) -> None:
    """An address within another one is not named."""
    assert str(BgpyError(problem, address=address)) == (
        problem if named else f"{address}: {problem}"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_knows_nothing_reads_as_its_text(kind: type[BgpyError]) -> None:
    assert str(kind("it broke")) == kind("it broke").text("cli") == "it broke"
    assert str(kind()) == ""
    assert not kind("it broke").remote


def test_advice_in_one_wording_holds_for_both_interfaces() -> None:
    error = BgpyError("it broke", advice="mend it")
    assert str(error) == error.text("cli") == "it broke: mend it"


COMMANDS = {"cli", "api/doctor.py", "api/advice.py"}
"""What speaks to people at the command line only."""


def options_in_api_wordings(source: str) -> list[str]:
    """The texts of a module that name an option of the command line, but to its users.

    Not docstrings; nor what stands in quotes, a command of the system with options of its own.
    """
    tree = ast.parse(source)
    told: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            told.add(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Advice":
            told |= {each for cli in node.args[1:] for each in ast.walk(cli)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told
        if re.search(r"(?<!-)--\w", re.sub(r"'[^']*'", "", node.value))
    ]


def test_options_are_found_in_the_wordings_of_the_api() -> None:
    """In one text for both, in a dict, in a part of an f-string; not where they belong."""
    found = """
Advice("give x=1", "give --x")
Advice(f"give --a {x}", "give --x")
f(advice="give --b"); THAT = {"c": f"give (--c) {x}"}
"see --d"; f("'ssh --e'")
"""
    assert options_in_api_wordings(found) == ["give --a ", "give --b", "give (--c) "]


def test_no_wording_of_the_api_names_an_option_of_the_command_line() -> None:
    """A program that imports bgpy has none; `Advice` has a wording for each."""
    source = Path(errors.__file__).parent
    names = {path.relative_to(source).as_posix(): path for path in source.rglob("*.py")}
    assert {
        name: options
        for name, path in names.items()
        if not COMMANDS & {name, name.partition("/")[0]}
        and (options := options_in_api_wordings(path.read_text(encoding="utf-8")))
    } == {}


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
