"""A helper's thread and those that ring it, to be walked through; see `interleaving`."""

from __future__ import annotations

import ast
import math
import weakref
from collections import deque
from queue import Empty
from types import SimpleNamespace
from typing import Any, NamedTuple

from bgpy.calling.blocking import helper
from tests.support.interleaving import WAITS, Agent, Broken, Code, Steps

METHODS = """
do tend is_running start ring post rest _run _recover _has_ended _work _do_first _is_rung
"""
SHARED = "_to_do _bell life is_over start"

CODE = Code(helper, "Helper", frozenset(METHODS.split()), frozenset(SHARED.split()), "get")

MOST = 4
"""Threads that are started at most: each ring starts one at its begin and one at its end."""


class Begin(NamedTuple):
    """What there is at first."""

    ringers: int = 1
    rests: bool = False
    """Somebody has the thread rest."""
    strikes: int = 0
    fails: int = 0
    """Things that fail when they are done first."""
    looks: int = 0
    """The look at what is to be done that fails, if not 0."""
    starts: int = MOST
    """Threads that can be started."""
    switches: float = math.inf
    ends: bool = False
    """The owner is collected."""


class Owner:
    """Of a helper."""


class Bell:
    """A `SimpleQueue`."""

    def __init__(self) -> None:
        self.items: deque[object] = deque()
        self.put = self.items.append

    def empty(self) -> bool:
        return not self.items

    def get(self, timeout: float) -> Steps:
        while not self.items:
            if (yield WAITS):
                raise Empty
        return self.items.popleft()


class ToDo(deque[int]):
    """What is to be done, where one look at it fails for want of memory."""

    looks = 0

    def __len__(self) -> int:
        self.looks -= 1
        if not self.looks:
            raise MemoryError
        return super().__len__()


class HelperScene:
    """A helper that notes what it has done."""

    def __init__(self, names: dict[str, Any], begin: Begin) -> None:
        self.begin = begin
        self.strikes, self.switches, self.last = begin.strikes, begin.switches, 0
        self.agents: list[Agent] = []
        self.lives: list[Any] = []
        self.done: list[int] = []
        self.failed: list[int] = []
        self.logged = 0
        self.paused = 0
        self.rung: dict[int, bool] = {}
        self._life = names["_Life"]
        self.owner: Owner | None = Owner()
        made, life = self, names["_Life"]

        def noted() -> Any:
            self.lives.append(life())
            return self.lives[-1]

        class Notes(names["Helper"]):  # type: ignore[misc, valid-type, name-defined]
            def do(self, what: int) -> Steps:
                if what <= begin.fails and what not in made.failed:
                    made.failed.append(what)
                    raise MemoryError
                made.done.append(what)
                return
                yield

            def tend(self) -> Steps:
                made.paused = len(made.done)
                return None
                yield

        names["Life"] = noted
        names["threads"] = SimpleNamespace(start=self._start)
        names["log"] = SimpleNamespace(exception=self._log)
        self.helper = Notes(self.owner)
        self.to_do = self.helper._to_do
        self.to_do.looks = begin.looks
        for number in range(1, begin.ringers + 1):
            self.agents.append(Agent("ringer", self._ring(number), may_be_struck=True))
        if begin.rests:
            self.agents.append(Agent("rests", self.helper.rest()))
        if begin.ends:
            self.agents.append(Agent("collector", self._end()))

    def _ring(self, number: int) -> Steps:
        self.rung[number] = yield from self.helper.ring(number)

    def _end(self) -> Steps:
        yield
        self.owner = None

    def _start(self, run: Any, life: object) -> bool:
        threads = sum(each.name == "thread" for each in self.agents)
        if threads == self.begin.starts:
            if self.begin.starts == MOST:
                raise Broken("more threads than that are never started")
            return False
        self.agents.append(Agent("thread", run(life)))
        return True

    def _log(self, text: str) -> None:
        self.logged += 1

    def can_take(self) -> bool:
        return bool(self.helper._bell.items)

    def key(self) -> object:
        of, agents, bounded = self.helper, [], self.switches < math.inf
        for at, each in enumerate(self.agents, 1):
            place, lives = each.place(self._life)
            lives = tuple((life.is_over, life is of.life) for life in lives)
            went = at == self.last + 1 and bounded
            known = (at in self.done, at in self.failed, at in self.to_do, went)
            agents.append((place, lives, known))
        return (
            tuple(sorted(agents)),
            (super(ToDo, self.to_do).__len__(), max(self.to_do.looks, 0), self.paused),
            tuple(each is None for each in of._bell.items),
            of.life.is_over,
            (min(self.logged, MOST), self.strikes, self.switches, self.owner is None),
        )

    def check(self, is_quiet: bool, is_over: bool) -> None:
        threads = [each for each in self.agents if each.name == "thread"]
        alive = [each for each in threads if not each.is_over]
        if len(set(self.done)) < len(self.done):
            raise Broken("a thing is done twice")
        if not (self.begin.rests or all(each.has_waited for each in threads if each.is_over)):
            raise Broken("a thread ends that has not waited")
        if is_quiet:
            self._check_quiet(alive)
        if is_over and self.begin.starts == MOST:
            self._check_end()
        elif is_over and not self.begin.starts and list(self.to_do):
            raise Broken("what was refused is taken")

    def _check_quiet(self, alive: list[Agent]) -> None:
        """Nothing happens any more before a time is over."""
        if alive and not self.begin.switches and self.helper.life.is_over:
            raise Broken("a thread is there that nobody knows of")
        if any(life.is_over for each in alive for life in each.place(self._life)[1]):
            raise Broken("a thread that waits says that it has ended")
        if self.paused < len(self.done):
            raise Broken("nobody asks when more is to be done")
        heard = {number for number, taken in self.rung.items() if taken}
        if not (heard <= set(self.done) or (alive and self._failures())):
            raise Broken("nobody hears of what is left")
        if self.logged != self._failures():
            raise Broken("what has failed is not told, or what has not is")

    def _failures(self) -> int:
        return len(self.failed) + (self.begin.looks > 0 and self.to_do.looks <= 0)

    def _check_end(self) -> None:
        """Nothing happens any more at all."""
        if not all(self.rung.values()):
            raise Broken("a thread can be had, and is not taken to be")
        if self.helper._bell.items and not self.begin.ringers:
            raise Broken("somebody is rung for who is not there")
        if list(self.to_do) and not any(each.is_struck for each in self.agents):
            raise Broken("something is left for ever")
        if not self.helper.life.is_over:
            raise Broken("a thread is taken to be there that is not")


def translated(tree: ast.Module | None = None) -> dict[str, Any]:
    """The names of the module, to be given to scenes."""
    names = CODE.translated(tree)
    names["SimpleQueue"], names["deque"] = Bell, ToDo
    names["_Life"] = names["Life"]
    names["weakref"] = weakref
    return names
