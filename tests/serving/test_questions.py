"""Questions for many modules: answered in slices, whoever asks waits, nobody else does."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable

import pytest

from bgpy.codec.modules import Catalogue
from bgpy.errors import MessageTooLarge
from bgpy.serving import questions
from bgpy.serving.questions import Questions
from bgpy.serving.queue import Overloaded
from bgpy.serving.sessions.watch import Pause
from bgpy.wire.messages import Message, Modules


class Asker:
    """A session that notes what happens to it."""

    def __init__(self) -> None:
        self.answers: dict[int, dict[str, str | None]] = {}
        self.paused = 0

    def send(self, message: Message) -> None:
        assert isinstance(message, Modules)
        self.answers[message.request] = json.loads(message.text)["modules"]

    def pause(self, reason: Pause) -> None:
        assert reason is Pause.QUESTION
        self.paused += 1

    def resume(self, reason: Pause) -> None:
        assert reason is Pause.QUESTION
        self.paused = 0


def test_question_is_answered_at_once_when_it_is_short() -> None:
    """Nothing is left with the reactor, and who asked is read on."""
    changes: list[Callable[[], None]] = []
    asker = Asker()
    Questions(Catalogue(), changes.append).ask(asker, 7, ["bgpy_has_no_such_module", "json"])
    assert asker.answers[7]["bgpy_has_no_such_module"] is None
    assert asker.answers[7]["json"] is not None
    assert (changes, asker.paused) == ([], 0)


def test_questions_are_answered_in_slices_when_they_are_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One slice between two polls, in the order asked; each asker waits for its own answer."""
    monkeypatch.setattr(questions, "SLICE", 0.0)
    changes: deque[Callable[[], None]] = deque()
    first, second = Asker(), Asker()
    asked = Questions(Catalogue(), changes.append)
    monkeypatch.setattr(questions, "SLICE", 1e-9)
    asked.ask(first, 1, [f"nothing_{number}" for number in range(50)])
    asked.ask(second, 2, ["nothing"])
    assert (len(changes), first.paused, second.paused) == (1, 1, 1)
    slices = 0
    monkeypatch.setattr(questions, "SLICE", 1e-4)
    while changes:
        changes.popleft()()
        assert len(changes) <= 1
        slices += 1
        assert slices < 1000
    assert slices > 1
    assert (len(first.answers[1]), second.answers[2]) == (50, {"nothing": None})
    assert (first.paused, second.paused) == (0, 0)


def test_short_question_does_not_wait_for_the_end_of_a_long_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take turns, a slice each."""
    monkeypatch.setattr(questions, "SLICE", 0.0)
    changes: deque[Callable[[], None]] = deque()
    long, short = Asker(), Asker()
    asked = Questions(Catalogue(), changes.append)
    asked.ask(long, 1, [f"nothing_{number}" for number in range(100_000)])
    asked.ask(short, 2, ["nothing"])
    monkeypatch.setattr(questions, "SLICE", 1e-4)
    while not short.answers:
        changes.popleft()()
    assert not long.answers


def test_question_is_refused_where_too_many_names_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients ask; a lone one is always answered."""
    monkeypatch.setattr(questions, "SLICE", 0.0)
    monkeypatch.setattr(questions, "MOST_NAMES", 10)
    asked = Questions(Catalogue(), lambda change: None)
    asked.ask(Asker(), 1, [f"nothing_{number}" for number in range(11)])
    with pytest.raises(Overloaded):
        asked.ask(Asker(), 2, ["nothing"])


def test_names_of_no_module_are_not_kept_when_anyone_may_ask() -> None:
    """A server's memory doesn't grow with what clients make up."""
    catalogue = Catalogue()
    catalogue.hashes([f"made_up_{number}" for number in range(100)])
    assert len(catalogue._seen) == 0
    assert catalogue.hashes(["json"]).keys() == {"json"}
    assert "json" in sys.modules


def test_question_whose_answer_cannot_be_sent_keeps_no_other_from_its_own() -> None:
    """Whoever asked is told, and the next question is answered."""

    class Deaf(Asker):
        def send(self, message: Message) -> None:
            if isinstance(message, Modules):
                raise MessageTooLarge("the answer is over the limit")
            self.answers[message.request] = {}

    asked = Questions(Catalogue(), lambda change: None)
    deaf, other = Deaf(), Asker()
    asked.ask(deaf, 1, ["json"])
    asked.ask(other, 2, ["json"])
    assert (deaf.answers, deaf.paused) == ({1: {}}, 0)
    assert other.answers[2]["json"] is not None
