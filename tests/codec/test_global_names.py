"""Which names of its module code looks up."""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

import pytest

from bgpy.codec.global_names import attributes_set_in, names_in, steps_without

BODIES = """
def task(state, own):
    class Made(BASE):
        first = LIMIT
        second = first
        LIMIT = LIMIT
        third: "BASE" = [EACH for EACH in ROWS]
        class Inner:
            deep = DEEP
        def method(self): return METHOD.attribute
    return state.attribute, own
"""


def _names(text: str) -> set[str]:
    scope: dict[str, Any] = {}
    exec(compile(text, "script.py", "exec"), scope)
    return set(names_in(scope["task"].__code__))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def task(a): return a.x, a.y()", set()),
        ("def task(a): return x.y, (lambda: z)()", {"x", "z"}),
        ("def task(a):\n global x\n x = [y for y in a]", {"x"}),
        ("def task(a):\n import x.y as z\n return z.w", set()),
        (BODIES, {"BASE", "LIMIT", "ROWS", "DEEP", "METHOD"}),
    ],
)
def test_names_are_those_that_are_looked_up_in_the_module(text: str, names: set[str]) -> None:
    """Not attributes, not what is imported or local, not what a class has made itself."""
    assert _names(text) == names


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of 3.12")
def test_names_in_type_parameters_are_found() -> None:
    """And in classes that have some, which look into their scope first."""
    text = "def task():\n class Made[T: BOUND](BASE[T]):\n  x = LIMIT\n  def f(self): return ROWS\n"
    assert _names(text) == {"BOUND", "BASE", "LIMIT", "ROWS"}


def test_attributes_are_those_that_are_set() -> None:
    """Also within, and by what adds to them."""
    scope: dict[str, Any] = {}
    text = "def task(a):\n a.x, a.y.z = a.w, 1\n a.v += 1\n def f(b): b.u = b.t\n"
    exec(compile(text, "script.py", "exec"), scope)
    assert attributes_set_in(scope["task"].__code__) == {"x", "z", "v", "u"}


def _body(lines_before: int) -> CodeType:
    body = "class Thing:\n    size = 3\n    def f(self): self.a = self.b = 1\n"
    module = compile("\n" * lines_before + body, "file.py", "exec")
    return next(each for each in module.co_consts if isinstance(each, CodeType))


@pytest.mark.parametrize("lines", [1, 100, 254, 255, 300, 70_000])
def test_body_of_a_class_is_the_same_wherever_it_stands(lines: int) -> None:
    """The number of its first line is in its instructions, or among its constants, or nowhere."""
    names = ("__firstlineno__", "__static_attributes__")
    found, moved = [[step for step, *_ in steps_without(_body(each), names)] for each in (0, lines)]
    assert found == moved
    assert any(rest == [3] or "3" in step for step, *rest in steps_without(_body(0), names))
