"""Questions for many modules: answered in slices, whoever asks waits, nobody else does."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from bgpy.codec.modules import Catalogue
from bgpy.errors import MessageTooLarge
from bgpy.serving import questions
from bgpy.serving.budget import Overloaded
from bgpy.serving.questions import Questions
from bgpy.wire.messages import Failure, Message, Modules
from tests.support.strikes import Struck, strike

HERE = __name__
"""A module that is there, of the user's."""


class Asker:
    """A session that keeps its answers."""

    def __init__(self) -> None:
        self.answers: dict[int, dict[str, str | None]] = {}
        self.failures: dict[int, Failure] = {}

    def send(self, message: Message) -> None:
        if isinstance(message, Failure):
            self.failures[message.request] = message
        else:
            assert isinstance(message, Modules)
            self.answers[message.request] = json.loads(message.text)["modules"]


def _nothings(count: int) -> list[str]:
    return [f"nothing_{number}" for number in range(count)]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds of a slice; first there is no time for anything."""
    monkeypatch.setattr(questions, "SLICE", 0.0)
    return lambda seconds: monkeypatch.setattr(questions, "SLICE", seconds)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is longer than anything takes, also on a busy machine."""
    monkeypatch.setattr(questions, "SLICE", 60.0)


@pytest.mark.usefixtures("quick")
def test_question_is_answered_at_once_when_it_is_short() -> None:
    """Nothing is left with the reactor."""
    changes: list[Callable[[], None]] = []
    asker = Asker()
    Questions(Catalogue(), changes.append).ask(asker, 7, ["bgpy_has_no_such_module", HERE])
    assert asker.answers[7]["bgpy_has_no_such_module"] is None
    assert asker.answers[7][HERE] is not None
    assert changes == []


def test_questions_are_answered_in_slices_when_they_are_long(
    slow: Callable[[float], None],
) -> None:
    """One slice between two polls; each asker gets its own answer."""
    changes: deque[Callable[[], None]] = deque()
    first, second = Asker(), Asker()
    asked = Questions(Catalogue(), changes.append)
    asked.ask(first, 1, _nothings(50))
    asked.ask(second, 2, ["nothing"])
    assert len(changes) == 1
    slices = 0
    slow(1e-4)
    while changes:
        changes.popleft()()
        assert len(changes) <= 1
        slices += 1
        assert slices < 1000
    assert slices > 1
    assert (len(first.answers[1]), second.answers[2]) == (50, {"nothing": None})


def test_short_question_does_not_wait_for_the_end_of_long_ones(
    slow: Callable[[float], None],
) -> None:
    """Those who ask take turns, a slice each, however many questions one of them has."""
    changes: deque[Callable[[], None]] = deque()
    long, short = Asker(), Asker()
    asked = Questions(Catalogue(), changes.append)
    for number in range(100):
        asked.ask(long, number, _nothings(2_000))
    asked.ask(short, 2, ["nothing"])
    slow(1e-4)
    for _ in range(3):
        changes.popleft()()
    assert short.answers
    assert not long.answers


def test_question_is_refused_where_too_much_waits(slow: Callable[[float], None]) -> None:
    """An asker may have three quarters of what the others leave; a lone one is answered."""
    asked = Questions(Catalogue(), lambda change: None, most=16_000)
    greedy, other = Asker(), Asker()
    asked.ask(greedy, 1, _nothings(100))  # more than there is
    with pytest.raises(Overloaded):
        asked.ask(greedy, 2, ["nothing"])
    asked.leave(greedy)
    asked.ask(greedy, 1, _nothings(30))
    with pytest.raises(Overloaded):
        asked.ask(greedy, 2, _nothings(30))
    asked.ask(other, 2, ["nothing"])


def test_questions_of_a_session_that_has_closed_are_dropped(
    slow: Callable[[float], None],
) -> None:
    """They are neither worked off nor kept, and what they took is free again."""
    changes: deque[Callable[[], None]] = deque()
    looked_up: list[str] = []

    class Counting(Catalogue):
        def hashes(self, names: Any) -> dict[str, str | None]:
            looked_up.extend(names)
            return dict.fromkeys(names)

    asked = Questions(Counting(), changes.append, most=1_000_000)
    stays = Asker()
    for _ in range(1_000):
        gone = Asker()
        asked.ask(gone, 1, _nothings(1_000))
        asked.leave(gone)
    asked.ask(stays, 2, ["nothing"])
    slow(10.0)
    while changes:
        changes.popleft()()
    assert stays.answers == {2: {"nothing": None}}
    assert looked_up == ["nothing"]
    asked.leave(stays)  # nothing is left of it


def test_names_of_no_module_are_not_kept_when_anyone_may_ask() -> None:
    """A server's memory doesn't grow with what clients make up."""
    catalogue = Catalogue()
    catalogue.hashes([f"made_up_{number}" for number in range(100)])
    assert len(catalogue._asked) == 0
    assert catalogue.hashes([HERE]).keys() == {HERE}
    assert HERE in sys.modules


@pytest.mark.usefixtures("quick")
def test_session_may_close_while_it_is_told() -> None:
    """Sending may find that the client has gone; what it took is free again, once."""
    asked = Questions(Catalogue(), lambda change: None, most=1000)

    class Closes(Asker):
        def send(self, message: Message) -> None:
            asked.leave(self)
            super().send(message)

    for request in range(9):
        closes = Closes()
        asked.ask(closes, request, ["nothing"])
        assert closes.answers[request] == {"nothing": None}
    assert (asked._budget.used, len(asked._askers)) == (0, 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [MessageTooLarge("over the limit"), ValueError("what?")])
def test_question_whose_answer_cannot_be_sent_keeps_no_other_from_its_own(
    error: Exception,
) -> None:
    """The asker is told why, and the next question is answered."""

    class Deaf(Asker):
        def send(self, message: Message) -> None:
            if isinstance(message, Modules):
                raise error
            super().send(message)

    asked = Questions(Catalogue(), lambda change: None)
    deaf, other = Deaf(), Asker()
    asked.ask(deaf, 1, [HERE])
    asked.ask(other, 2, [HERE])
    assert str(error) in deaf.failures[1].text
    assert other.answers[2][HERE] is not None


def test_questions_are_answered_wherever_a_slice_is_struck() -> None:
    """What a signal handler raises there neither loses a question nor stops the slices."""
    for at in itertools.count():
        changes: deque[Callable[[], None]] = deque()
        one, two = Asker(), Asker()
        asked = Questions(Catalogue(), changes.append)
        through = False
        with contextlib.suppress(Struck):
            through = strike(at, asked.ask, one, 1, ["nothing"], within=("serving/questions",))
        if not one.answers:
            asked.ask(two, 2, [HERE])  # the next question, where the next slice was struck
            while changes:
                changes.popleft()()
            assert two.answers, at
        if asked._askers or through:
            assert one.answers, at
        if through:
            assert at > 20
            break


def test_questions_of_one_asker_are_answered_in_order_and_leave_nothing(
    slow: Callable[[float], None],
) -> None:
    """Each has its answer, and the next one that is asked then is answered at once."""
    changes: deque[Callable[[], None]] = deque()
    asker = Asker()
    asked = Questions(Catalogue(), changes.append, most=16_000)
    for number in range(3):
        asked.ask(asker, number, _nothings(5))
    slow(60.0)
    while changes:
        changes.popleft()()
    assert list(asker.answers) == [0, 1, 2]
    assert (asked._budget.used, len(asked._askers)) == (0, 0)
    asked.ask(asker, 3, ["nothing"])
    assert (list(asker.answers), len(changes)) == ([0, 1, 2, 3], 0)


def test_what_an_asker_has_been_told_counts_no_more(slow: Callable[[float], None]) -> None:
    """However much it has asked before: its share is that of what waits still."""
    changes: deque[Callable[[], None]] = deque()
    asker = Asker()
    asked = Questions(Catalogue(), changes.append, most=16_000)
    askers: Any = asked._askers
    asked.ask(asker, 0, ["nothing"])
    for number in range(1, 40):
        asked.ask(asker, number, _nothings(10))  # never without one that waits
        while len(askers[asker].questions) > 1:
            slow(60.0)
            first = askers[asker].questions[0]
            assert asked._is_through(asker, first, float("inf"))
            asked._forget(asker, askers[asker])
            slow(0.0)
    assert list(asker.answers) == list(range(39))
