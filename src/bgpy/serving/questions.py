"""Questions for many modules, answered a little at a time by the thread that polls.

::

    session ─► ask ─► the asker's questions ─► slices, each asker in turn ─► its answer
                           └── leave: dropped with their session

A hash takes a file's reading, and a name that no module has a search of every folder:
tens of microseconds each, and a client may ask for many. So an answer is made in slices,
one between two polls. A session that has asked is read on: so its end is noticed, and
nothing is worked off or kept for a client that has gone. All that waits is bounded, and so
is the share of each session.

All of it belongs to the thread that polls. An exception that strikes there (a signal
handler's) leaves the question where it is until its answer has been sent; the next slice
is left with the reactor whatever strikes, and where even that was struck, the next
question sees to it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic

from bgpy.codec.modules import Catalogue
from bgpy.errors import MessageTooLarge
from bgpy.serving.budget import Budget, Overloaded
from bgpy.serving.job import Peer
from bgpy.wire.messages import Failure, Modules, Reason, modules_text

log = logging.getLogger("bgpy.server")

SLICE = 0.002
"""Seconds of work between two polls."""

LONGEST_QUESTION = 2**20
"""Characters of a question; its answer takes about as much, and json a few milliseconds."""

NAME = 200
"""Bytes that a name and its hash take besides the characters of the name, about."""

MOST_ASKED = 2**27
"""Bytes of all questions that wait: the longest one fits three quarters of it."""


class _Question:
    """What is left to look up, and what was found so far."""

    def __init__(self, request: int, names: list[str]) -> None:
        self.request = request
        self.left = deque(names)
        self.hashes: dict[str, str | None] = {}
        self.size = NAME + sum(map(len, names)) + NAME * len(names)


class _Asked:
    """The questions of one asker."""

    def __init__(self) -> None:
        self.questions: deque[_Question] = deque()
        self.size = 0


class Questions:
    """Those of one server."""

    def __init__(
        self,
        catalogue: Catalogue,
        change: Callable[[Callable[[], None]], None],
        most: int = MOST_ASKED,
    ) -> None:
        """`change` has the thread that polls call something before its next poll."""
        self._catalogue = catalogue
        self._change = change
        self._askers: OrderedDict[Peer, _Asked] = OrderedDict()
        self._budget = Budget(most)
        self._scheduled = False  # the reactor has the next slice

    def ask(self, asker: Peer, request: int, names: list[str]) -> None:
        """Send `asker` the hashes of the modules `names`, now or soon.

        Raises `Overloaded` where too much waits already, of this asker or of all.
        """
        question = _Question(request, names)
        asked = self._askers.get(asker) or _Asked()
        if self._askers and not self._budget.admits(asked.size, question.size):
            raise Overloaded
        self._budget.queued += question.size
        asked.size += question.size
        asked.questions.append(question)
        self._askers[asker] = asked
        if not self._scheduled:
            self._go_on()

    def leave(self, asker: Peer) -> None:
        """Drop what `asker` has asked: its session has closed."""
        if (asked := self._askers.pop(asker, None)) is not None:
            self._budget.queued -= asked.size

    def _go_on(self) -> None:
        """Work for a slice on the questions whose turn it is, and leave the rest as a change."""
        self._scheduled = False
        try:
            until = monotonic() + SLICE
            while self._askers and monotonic() < until:
                asker, asked = next(iter(self._askers.items()))
                question = asked.questions[0]
                if self._is_through(asker, question, until):
                    self._forget(asker, asked)
                if asker in self._askers:
                    self._askers.move_to_end(asker)
        finally:
            if self._askers:
                self._change(self._go_on)
                self._scheduled = True

    def _is_through(self, asker: Peer, question: _Question, until: float) -> bool:
        """Work on `question`; whether nothing is left of it, and its asker has been told."""
        try:
            left = question.left
            while left and monotonic() < until:
                question.hashes.update(self._catalogue.hashes([left[0]]))
                left.popleft()
            if left:
                return False
            asker.send(Modules(question.request, modules_text(question.hashes)))
        except (MessageTooLarge, MemoryError) as error:
            _fail(asker, question, Reason.TOO_LARGE, error)
        except Exception as error:
            _fail(asker, question, Reason.OVERLOAD, error)
        return True

    def _forget(self, asker: Peer, asked: _Asked) -> None:
        """Forget the first question of `asker`, which has its answer."""
        question = asked.questions.popleft()
        asked.size -= question.size
        if self._askers.get(asker) is asked:  # else it has left while it was told
            self._budget.queued -= question.size
            if not asked.questions:
                del self._askers[asker]


def _fail(asker: Peer, question: _Question, reason: Reason, error: Exception) -> None:
    text = f"a question for modules could not be answered: {error}"
    try:
        asker.send(Failure(question.request, reason, text=text))
    except Exception:
        log.exception("a question for modules could not be answered")
