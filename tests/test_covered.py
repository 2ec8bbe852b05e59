"""Exceptions of signal handlers at the end of a loop's round don't leave a lock taken.

From 3.13 on, Python looks for signals at a loop's jump back, and its compiler may leave that
jump out of what a ``with`` block protects: where the round ends in a condition, say. Which
jumps those are depends on the version, so this looks at what the one at hand makes of the code.
"""

from __future__ import annotations

import ast
import dis
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "bgpy"

LOCKS = ("lock", "here", "turn", "before", "polling")
"""What a variable or an attribute that holds a lock is called, or ends in."""


def _blocks(tree: ast.Module) -> Iterator[tuple[tuple[int, int], range]]:
    """Of each block that holds a lock: where its expression stands, and the lines of its body."""
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            body = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
            for item in node.items:
                if ast.unparse(item.context_expr).endswith(LOCKS):
                    yield (item.context_expr.lineno, item.context_expr.col_offset), body


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _uncovered(code: CodeType, place: tuple[int, int], body: range) -> Iterator[int]:
    """Lines of the jumps back in a body that don't lead to the handler of its `with`."""
    instructions = list(dis.get_instructions(code))
    handlers = {
        each.offset
        for each, following in itertools.pairwise(instructions)
        if following.opname == "WITH_EXCEPT_START"
        and each.positions is not None
        and (each.positions.lineno, each.positions.col_offset) == place
    }
    table = dis._parse_exception_table(code)  # type: ignore[attr-defined]

    def leads_there(offset: int) -> bool:
        for entry in table:
            if entry.start <= offset < entry.end:
                return entry.target in handlers or leads_there(entry.target)
        return False

    for each in instructions:
        line = each.positions.lineno if each.positions is not None else None
        jumps = each.opname == "JUMP_BACKWARD" and line is not None and line in body
        if jumps and handlers and not leads_there(each.offset):
            yield line


def _left_out(text: str, name: str = "a text") -> list[str]:
    blocks = list(_blocks(ast.parse(text)))
    return sorted(
        f"{name}:{line}"
        for code in _codes(compile(text, name, "exec"))
        for place, body in blocks
        for line in _uncovered(code, place, body)
    )


def test_every_jump_back_with_a_lock_held_is_covered() -> None:
    """Such a loop belongs into a function of its own, or its round has to end otherwise."""
    left_out = [
        each
        for path in sorted(SOURCES.rglob("*.py"))
        for each in _left_out(path.read_text(encoding="utf-8"), str(path.relative_to(SOURCES)))
    ]
    assert left_out == []


@pytest.mark.skipif(
    sys.version_info[:2] not in {(3, 13), (3, 14)}, reason="this version covers that jump"
)
def test_jump_back_after_a_condition_is_found() -> None:
    """Else the test above would hold for anything."""
    assert _left_out(
        """
def f(lock, rows):
    with lock:
        for each in rows:
            step(each)
            if done():
                return
"""
    )
