"""What several threads share is looked through whole: no other thread can end or bend that.

A loop of Python's over a deque, a dict or a set ends in `RuntimeError` where another thread adds to
it, and over a list it leaves something out. Up to where one operation of C's does it all, that is
no question of locks. Which operations are whole depends on the build: in one without the GIL
``deque.copy()``, ``list(deque)`` and ``tuple(dict)`` are not (CPython's ``listobject.c`` holds the
lock of what it copies for lists, dicts and sets, and for nothing else).
"""

from __future__ import annotations

import ast
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "bgpy"

THROUGH = {"list", "tuple", "sorted", "set", "frozenset", "deque", "islice", "reversed", "dict"} | {
    *("any", "all", "sum", "min", "max", "map", "filter", "enumerate", "zip", "iter")
}
"""What goes through its argument."""

ALONE = {
    ("calling/blocking/caller.py", "_posted"): "in a forked child, which has one thread",
    ("calling/blocking/send_queue.py", "waiting"): "with the client's lock held",
    ("serving/ending.py", "_kept"): "with the lock held",
    ("serving/line.py", "jobs"): "with the queue's lock held",
    ("serving/lines.py", "jobs"): "with the queue's lock held",
    ("serving/sessions/send_buffer.py", "pieces"): "with the lock of its sender held",
    ("system/locks.py", "_last_opened"): "in a forked child, which has one thread",
}
"""Deques that are gone through, and why no other thread changes them then."""


Name = tuple[bool, str]
"""Whether it is an attribute, and the word."""


def _name(node: ast.expr) -> Name:
    """Of a variable or an attribute; empty for anything else."""
    return isinstance(node, ast.Attribute), getattr(node, "attr", getattr(node, "id", ""))


def _deques(tree: ast.AST) -> Iterator[Name]:
    """What holds a deque."""
    for node in ast.walk(tree):
        made = getattr(node, "value", None)
        if isinstance(made, ast.Call) and _name(made.func)[1] == "deque":
            if isinstance(node, ast.Assign):
                yield from map(_name, node.targets)
            elif isinstance(node, ast.AnnAssign):
                yield _name(node.target)
        elif isinstance(node, ast.arg) and "deque[" in ast.unparse(node.annotation or node):
            yield False, node.arg


def _others(tree: ast.AST, deques: set[Name]) -> Iterator[Name]:
    """Other words for those of `deques`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _name(node.value) in deques:
            yield from map(_name, node.targets)


def _gone_through(tree: ast.AST) -> Iterator[Name]:
    """What is gone through, or copied."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.For, ast.comprehension)):
            yield _name(node.iter)
        if isinstance(node, ast.Starred):
            yield _name(node.value)
        if isinstance(node, ast.Call):
            if _name(node.func)[1] in THROUGH:
                yield from map(_name, node.args)
            if isinstance(node.func, ast.Attribute) and node.func.attr == "copy":
                yield _name(node.func.value)


def _found(sources: dict[str, str]) -> set[tuple[str, str]]:
    """The deques that are gone through: in which file, and what they are called there."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    everywhere = {
        (attribute, word)
        for tree in trees.values()
        for attribute, word in _deques(tree)
        if attribute and not word.startswith("_")
    }
    found = set()
    for name, tree in trees.items():
        known = everywhere | set(_deques(tree))
        known |= set(_others(tree, known))
        found |= {(name, word) for _, word in known.intersection(_gone_through(tree))}
    return found


def test_no_deque_that_threads_share_is_gone_through() -> None:
    """Those that are stand in the table with their reason; a list has a whole copy."""
    sources = {
        path.relative_to(SOURCES).as_posix(): path.read_text("utf-8")
        for path in SOURCES.rglob("*.py")
    }
    assert _found(sources) == ALONE.keys()


@pytest.mark.parametrize(
    "line",
    ["for _ in it.a: ...", "[*it.a]", "b = it.a; list(b)", "it.a.copy()", "{x for x in it.a}"],
)
def test_deque_that_is_gone_through_is_found(line: str) -> None:
    """In whatever way, in another file too."""
    found = _found({"one": "self.a: deque[int] = deque()", "two": line})
    assert [file for file, _ in found] == ["two"]


WHOLE: dict[str, tuple[Callable[[], Any], Callable[[Any, int], Any], Callable[[Any], Any]]] = {
    "list.copy": (list, lambda it, n: (it.append(n), it.remove(n)), lambda it: it.copy()),
    "list(dict.values())": (
        dict,
        lambda it, n: (it.update({n: n}), it.pop(n - 30, None)),
        lambda it: list(it.values()),
    ),
    "dict.copy": (
        dict,
        lambda it, n: (it.update({n: n}), it.pop(n - 30, None)),
        lambda it: it.copy(),
    ),
    "set.copy": (set, lambda it, n: (it.add(n), it.discard(n - 30)), lambda it: it.copy()),
    "deque by its places": (
        lambda: deque(range(500)),
        lambda it, n: (it.append(n), it.pop()),
        lambda it: [it[at] for at in range(500)],
    ),
}
"""What is counted on: what makes it, what other threads do to it, and how it is looked through."""


@pytest.mark.parametrize("way", WHOLE)
def test_what_is_counted_on_is_whole_in_this_build(way: str) -> None:
    """While two threads change it all the time."""
    make, change, look = WHOLE[way]
    shared, over, failures = make(), threading.Event(), list[Exception]()

    def changes(number: int) -> None:
        while not over.is_set():
            number += 2
            try:
                change(shared, number)
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=changes, args=(first,)) for first in (0, 1)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for each in threads:
        each.start()
    try:
        until = monotonic() + 0.15
        while monotonic() < until:
            look(shared)
    finally:
        over.set()
        for each in threads:
            each.join()
        sys.setswitchinterval(before)
    assert not failures
