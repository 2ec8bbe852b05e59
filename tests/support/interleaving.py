"""All orders in which the steps of several threads may come, over the code itself.

The methods of a class are read from its module's source and translated, statement by statement,
into generators that yield before each look at what threads share, and wait where the code would
wait. `explore` has them run in every order there is. A change of the code (`mutants` makes some)
is translated as the code is, so that nothing here is a copy of it.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Generator, Hashable, Iterator, Set
from types import ModuleType
from typing import Any, NamedTuple, Protocol

Steps = Generator[Any, bool, Any]

WAITS = "waits"
"""Yielded where a thread waits; it gets True when its time is over."""


class Broken(AssertionError):
    """In some order of events a thing is lost, done twice or left for ever."""


# The translation


class Code(NamedTuple):
    """Of a class: how its methods become steps."""

    module: ModuleType
    name: str
    methods: Set[str]
    """Those that become generators."""
    shared: Set[str]
    """The attributes that threads share: each look at one is a step."""
    waits: str
    """The method that waits."""

    def tree(self) -> ast.Module:
        """The module, as it is written."""
        return ast.parse(inspect.getsource(self.module))

    def bodies(self, tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
        """Each method's name and statements."""
        for each in ast.walk(tree):
            if isinstance(each, ast.ClassDef) and each.name == self.name:
                for method in each.body:
                    if isinstance(method, ast.FunctionDef) and method.name in self.methods:
                        yield method.name, method.body

    def translated(self, tree: ast.Module | None = None) -> dict[str, Any]:
        """The names of the module, with methods that are generators."""
        tree = self.tree() if tree is None else tree
        for _, body in self.bodies(tree):
            never = ast.If(ast.Constant(False), [ast.Expr(ast.Yield())], [])
            body[:] = [never, *self._with_steps(body)]
        tree = _Generators(self).visit(tree)
        names: dict[str, Any] = {"__name__": self.module.__name__}
        exec(compile(ast.fix_missing_locations(tree), self.module.__name__, "exec"), names)
        return names

    def _with_steps(self, body: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for each in body:
            if any(isinstance(at, ast.Attribute) and at.attr in self.shared for at in _own(each)):
                found.append(ast.Expr(ast.Yield(ast.Constant("step"))))
            for block in _blocks(each):
                block[:] = self._with_steps(block)
            if isinstance(each, ast.While):  # that one which nothing ends is seen to have no end
                each.body.insert(0, ast.Expr(ast.Yield(ast.Constant("step"))))
            found.append(each)
        return found


class _Generators(ast.NodeTransformer):
    def __init__(self, code: Code) -> None:
        self._code = code

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if node.name in self._code.methods:
            node.decorator_list = []
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        called = node.func
        if not isinstance(called, ast.Attribute):
            return node
        own = isinstance(called.value, ast.Name) and called.value.id == "self"
        steps = (own and called.attr in self._code.methods) or called.attr == self._code.waits
        return ast.YieldFrom(node) if steps else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        is_property = node.attr.startswith("is_") and node.attr in self._code.methods
        return ast.YieldFrom(ast.Call(node, [], [])) if is_property else node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        if isinstance(node.type, ast.Name) and node.type.id == "BaseException":
            node.type.id = "Exception"  # the end of a generator is none of the code's affair
        return node


def _blocks(node: ast.stmt | ast.ExceptHandler) -> list[list[ast.stmt]]:
    """The blocks of statements that a statement has."""
    found = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
    for each in getattr(node, "handlers", []):
        found += _blocks(each)
    return [block for block in found if block]


def _own(node: ast.stmt) -> Iterator[ast.AST]:
    """What a statement does itself, without its blocks."""
    for field, value in ast.iter_fields(node):
        if field not in ("body", "orelse", "finalbody", "handlers"):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST):
                    yield from ast.walk(each)


# Changes of the code


def mutants(code: Code) -> Iterator[tuple[str, ast.Module]]:
    """The module with one statement left out, or two exchanged, and what was done."""
    tree = code.tree()
    for name, at, what in [
        (name, at, what)
        for name, body in code.bodies(tree)
        for at, block in enumerate(_all_blocks(body))
        for what in _changes(block)
    ]:
        changed = copy.deepcopy(tree)
        body = dict(code.bodies(changed))[name]
        block = list(_all_blocks(body))[at]
        place, exchanges = what
        if exchanges:
            block[place : place + 2] = reversed(block[place : place + 2])
        gone = block[place]
        said = ast.unparse(gone).splitlines()[0]
        if not exchanges:
            block[place] = ast.Pass()
        yield f"{name} {'later' if exchanges else 'without'}: {said}", changed


def _all_blocks(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    yield body
    for each in body:
        for block in _blocks(each):
            yield from _all_blocks(block)


def _changes(block: list[ast.stmt]) -> Iterator[tuple[int, bool]]:
    first = isinstance(block[0], ast.Expr) and isinstance(block[0].value, ast.Constant)
    for place in range(int(first), len(block)):
        yield place, False
        if place + 1 < len(block):
            yield place, True


# The exploration


PLAIN = (bool, int, float, str, type(None))
_NUMBERS: dict[Hashable, int] = {}


class Agent:
    """One thread."""

    def __init__(self, name: str, steps: Steps, may_be_struck: bool = False) -> None:
        self.name = name
        self.may_be_struck = may_be_struck
        self.is_over = self.is_struck = False
        self.has_waited = False
        """Whether it once waited until the time was over."""
        self._place: tuple[Hashable, tuple[Any, ...]] | None = None
        self.at: object = None
        self._steps = steps

    def go(self, time_is_over: bool = False) -> None:
        """Take one step."""
        self.has_waited = self.has_waited or time_is_over
        self._place = None
        try:
            self.at = self._steps.send(time_is_over) if self.at else next(self._steps)
        except StopIteration:
            self.is_over = True

    def strike(self) -> None:
        """It never gets further."""
        self._place = None
        self._steps.close()
        self.is_over = self.is_struck = True

    def place(self, shared: type) -> tuple[Hashable, tuple[Any, ...]]:
        """Where it is with all that it knows, and the objects of that class that it knows."""
        if self._place is None:
            found, objects = [], []
            steps: Any = self._steps  # a generator of Python's, whose frame can be seen
            while steps is not None and steps.gi_frame is not None and not self.is_over:
                frame = steps.gi_frame
                values = list(frame.f_locals.values())
                objects += [each for each in values if isinstance(each, shared)]
                known = tuple(each for each in values if isinstance(each, PLAIN))
                found.append((frame.f_code.co_name, frame.f_lasti, known))
                steps = steps.gi_yieldfrom
            where = (self.name, self.is_over, self.is_struck, tuple(found))
            self._place = _NUMBERS.setdefault(where, len(_NUMBERS)), tuple(objects)
        return self._place


class Scene(Protocol):
    """Threads, and what they share."""

    agents: list[Agent]
    strikes: int
    switches: float
    """How often a thread is kept waiting that could go on; without bound where it is infinite."""
    last: int
    """The agent that went last."""

    def can_take(self) -> bool:
        """Whether who waits has something to take."""

    def key(self) -> object:
        """The same in equal states."""

    def check(self, is_quiet: bool, is_over: bool) -> None:
        """Raise `Broken` if something is wrong; `is_quiet` says that nothing happens any more
        before a time is over, `is_over` that nothing does even then."""


Event = tuple[int, str]


def events(scene: Scene) -> list[Event]:
    """What may happen next: which agent, and what."""
    found = []
    for who, agent in enumerate(scene.agents):
        if agent.is_over or not (scene.switches or who == scene.last or _must_switch(scene)):
            continue
        if agent.at == WAITS and not scene.can_take():
            found.append((who, "time over"))
        else:
            found.append((who, "goes"))
            if scene.strikes and agent.may_be_struck and agent.at is not None:
                found.append((who, "struck"))
    return found


def _must_switch(scene: Scene) -> bool:
    """Whether the agent that went last can't go on now."""
    last = scene.agents[scene.last]
    return last.is_over or (last.at == WAITS and not scene.can_take())


def happen(scene: Scene, event: Event) -> None:
    """Let that happen."""
    who, what = event
    agent = scene.agents[who]
    if who != scene.last and not _must_switch(scene):
        scene.switches -= 1
    scene.last = who
    if what == "struck":
        scene.strikes -= 1
        agent.strike()
    else:
        agent.go(what == "time over")


def explore(begin: Callable[[], Scene], most: int = 20_000) -> int:
    """Walk through all states; how many there are.

    Raises `Broken` for what `check` finds, what an agent raises, a state from which no order of
    events leads to an end, and where there are more than `most`.
    """
    follows: dict[object, set[object]] = {}
    ends: set[object] = set()
    ahead: list[tuple[Event, ...]] = [()]
    while ahead:
        path = ahead.pop()
        scene = begin()
        try:
            for event in path[:-1]:
                happen(scene, event)
            before = scene.key() if path else None
            for event in path[-1:]:
                happen(scene, event)
            while True:
                key = scene.key()
                if before is not None:
                    follows[before].add(key)
                if key in follows:
                    break
                follows[key] = set()
                if len(follows) > most:
                    raise Broken("there is no end to it")
                possible = events(scene)
                scene.check(all(what == "time over" for _, what in possible), not possible)
                if not possible:
                    ends.add(key)
                    break
                ahead += [(*path, event) for event in possible[1:]]
                path = (*path, possible[0])
                before = key
                happen(scene, possible[0])
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}\nafter {path}") from error
    _check_ends(follows, ends)
    return len(follows)


def _check_ends(follows: dict[object, set[object]], ends: set[object]) -> None:
    leads_from: dict[object, list[object]] = {}
    for key, following in follows.items():
        for each in following:
            leads_from.setdefault(each, []).append(key)
    known, ahead = set(ends), list(ends)
    while ahead:
        for each in leads_from.get(ahead.pop(), ()):
            if each not in known:
                known.add(each)
                ahead.append(each)
    if len(known) < len(follows):
        raise Broken("a thread never ends")
