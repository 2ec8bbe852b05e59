"""Questions for many modules, answered a little at a time by the thread that polls.

A hash takes a file's reading, and a name that no module has a search of every folder:
tens of microseconds each, and a client may ask for many. So an answer is made in slices,
one between two polls, whoever asked; who asks is not read until it has its answer.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple, Protocol

from bgpy.codec.modules import Catalogue
from bgpy.errors import MessageTooLarge
from bgpy.serving.queue import Overloaded
from bgpy.serving.sessions.watch import Pause
from bgpy.wire.messages import Failure, Message, Modules, Reason

SLICE = 0.002
"""Seconds of work between two polls."""

LONGEST = 2**20
"""Characters of a question; its answer takes about as much, and json a few milliseconds."""

MOST_NAMES = 500_000
"""Names in all questions that wait; about 100 MB in the end."""


class Asker(Protocol):
    """The session of the client that asks."""

    def send(self, message: Message) -> None:
        """Send `message`."""

    def pause(self, reason: Pause) -> None:
        """Read no more until `resume`."""

    def resume(self, reason: Pause) -> None:
        """Read again."""


class _Question(NamedTuple):
    asker: Asker
    request: int
    left: deque[str]
    hashes: dict[str, str | None]


class Questions:
    """Those of one server."""

    def __init__(self, catalogue: Catalogue, change: Callable[[Callable[[], None]], None]) -> None:
        """`change` has the thread that polls call something before its next poll."""
        self._names = 0  # that are left, of all questions
        self._catalogue = catalogue
        self._change = change
        self._asked: deque[_Question] = deque()

    def ask(self, asker: Asker, request: int, names: list[str]) -> None:
        """Send `asker` the hashes of the modules `names`, now or soon.

        Raises `Overloaded` where too many names wait already.
        """
        if self._asked and self._names + len(names) > MOST_NAMES:
            raise Overloaded
        self._names += len(names)
        self._asked.append(_Question(asker, request, deque(names), {}))
        if len(self._asked) == 1:
            self._go_on()
        if any(question.asker is asker for question in self._asked):
            asker.pause(Pause.QUESTION)

    def _go_on(self) -> None:
        """Work for a slice on the question whose turn it is, and leave the rest as a change."""
        until = monotonic() + SLICE
        while self._asked and monotonic() < until:
            question = self._asked[0]
            left = question.left
            while left and monotonic() < until:
                question.hashes.update(self._catalogue.hashes([left[0]]))
                left.popleft()
                self._names -= 1
            if left:
                self._asked.rotate(-1)  # a short question doesn't wait for the end of long ones
            else:
                self._asked.popleft()
                _answer(question)
                question.asker.resume(Pause.QUESTION)
        if self._asked:
            self._change(self._go_on)


def _answer(question: _Question) -> None:
    request = question.request
    try:
        answer = json.dumps({"modules": question.hashes})
        question.asker.send(Modules(request, answer))
    except (MessageTooLarge, MemoryError) as error:
        question.asker.send(Failure(request, Reason.TOO_LARGE, text=str(error)))
