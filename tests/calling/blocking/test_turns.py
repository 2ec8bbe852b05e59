"""Who reads for all: every interleaving of two callers and the standby, and mutants caught."""

from __future__ import annotations

import pytest

from bgpy.calling.blocking import turns
from bgpy.calling.blocking.turns import Turns
from tests.support.turns_model import CALLERS, Broken, Model, Step, World, explore, put

SCENARIOS = [
    ((2, 2), 0, 0, 5_000),
    ((1, 1), 2, 0, 1_000),
    ((1, 1), 1, 1, 5_000),
]
"""Calls of each caller, strikes, time-outs, and how many states that is at least."""


@pytest.fixture(autouse=True)
def soon_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers instead of eight before the standby rests: the same states, fewer of them."""
    monkeypatch.setattr(turns, "LONE_ANSWERS", 2)


@pytest.mark.parametrize(("calls", "strikes", "timeouts", "least"), SCENARIOS)
def test_turns_keep_their_invariants_when_threads_interleave_and_are_struck_in_any_way(
    calls: tuple[int, int], strikes: int, timeouts: int, least: int
) -> None:
    """One reads at a time, and whoever waits gets an answer or the end of the connection."""
    states = explore(Model(), World(calls, strikes, timeouts))
    print(f"{calls}, {strikes} strikes, {timeouts} time-outs: {states} states")
    assert states > least


def test_model_reaches_every_step_when_walked() -> None:
    """The walk is not empty: waiting, succeeding, losing a turn and resting all happen."""
    seen: set[str] = set()

    class Visits(Model):
        def steps(self, w: World) -> list[Step]:
            seen.update((*w.at, f"standby_{w.standby}"))
            return super().steps(w)

    explore(Visits(), World((2, 2), 1, 0))
    steps = "top begin alone among take check again read hand leave release sleep done"
    standby = "bell look wait succeed torn loop recv hand"
    assert seen == {*steps.split(), *(f"standby_{each}" for each in standby.split())}


def test_lone_caller_reads_for_itself_again_when_the_others_are_gone() -> None:
    """The standby rests after some answers in a row with nothing else under way."""
    mine: Turns[str] = Turns()
    assert mine.enter("A")
    assert not mine.enter("B")
    mine.note_asked()
    assert mine.look("S") == "A"
    mine.leave()
    assert mine.look("S") is None
    assert not mine.enter("A")
    assert not mine.rest(under_way=False, at_once=False)
    assert not mine.rest(under_way=True, at_once=False)
    assert [mine.rest(under_way=False, at_once=False) for _ in range(2)] == [False, True]
    assert mine.enter("A")


def test_caller_takes_up_its_own_turn_when_it_was_struck_with_it() -> None:
    """No other thread has to do anything for that."""
    mine: Turns[str] = Turns()
    assert mine.enter("A")
    assert mine.enter("A")


# Mutants of the turns


class EntersBesideAnother(Turns[str]):
    def enter(self, turn: str) -> bool:
        entered = super().enter(turn)
        if not self.asked:
            self.reader = turn
            return True
        return entered


class LooksPastTheReader(Turns[str]):
    def look(self, turn: str) -> str | None:
        self.reader = None
        return super().look(turn)


class SucceedsNobody(Turns[str]):
    def succeed(self, before: str, turn: str) -> None:
        pass


class SucceedsWhoever(Turns[str]):
    def succeed(self, before: str, turn: str) -> None:
        self.reader = turn


class RestsAsked(Turns[str]):
    def rest(self, under_way: bool, at_once: bool) -> bool:
        rests = super().rest(under_way, at_once)
        self.asked = True
        return rests


class NeverRests(Turns[str]):
    def rest(self, under_way: bool, at_once: bool) -> bool:
        return False


TURNS = [
    (EntersBesideAnother, "two read"),
    (LooksPastTheReader, "two read"),
    (SucceedsNobody, "for ever"),
    (SucceedsWhoever, "two read"),
    (RestsAsked, "for ever"),
    (NeverRests, "for ever"),
]


@pytest.mark.parametrize(("mutant", "text"), TURNS)
def test_model_catches_turns_that_do_one_thing_else(mutant: type[Turns[str]], text: str) -> None:
    """Each method is needed as it is."""

    class Mutant(Model):
        turns_type = mutant

    with pytest.raises(Broken, match=text):
        explore(Mutant(), World((2, 1), 1, 0))


# Mutants of the channel


class NotesBeforeItRings(Model):
    """Struck in between: noted as asked, and never rung."""

    def half_asked(self, w: World) -> World:
        return self.call(w, lambda turns: turns.note_asked())[1]


class SleepsWithoutAsking(Model):
    def ask(self, w: World) -> World:
        return w


class ReadsWithoutLookingAgain(Model):
    """The standby may have taken the turn before the caller had its lock."""

    def check(self, w: World, who: int) -> list[Step]:
        return [("has it", self.go(w, who, "read"))]


class OverlooksWhatIsTorn(Model):
    def standby_torn(self, w: World) -> list[Step]:
        return [("looks", w._replace(standby="loop", came=False))]


class ForgetsBeforeItWakes(Model):
    """Struck in between: the one that sleeps is found by nobody."""

    def hand_out(self, w: World) -> World:
        who, *rest = w.took
        return w._replace(pending=put(w.pending, who, False), took=tuple(rest))


class KeepsTheTurnOfTheOther(Model):
    def standby_succeed(self, w: World) -> list[Step]:
        return [(name, s._replace(held=w.held)) for name, s in super().standby_succeed(w)]


class EntersAloneBesideAnother(Model):
    def is_free(self, w: World, who: int) -> bool:
        return not w.turns[1]


class EntersAloneThoughAsked(Model):
    def is_free(self, w: World, who: int) -> bool:
        return w.turns[0] in (None, CALLERS[who])


class EntersAloneWithATurnThatWasLeft(Model):
    def is_free(self, w: World, who: int) -> bool:
        return w.turns[0] in (None, CALLERS[who]) and not w.turns[1]


class EntersAloneBeforeItHoldsItsTurn(Model):
    """The standby takes it for struck down."""

    def alone(self, w: World, who: int) -> list[Step]:
        return super().alone(w._replace(held=put(w.held, who, "")), who)


LOOPS = [
    (EntersAloneBesideAnother, "two read|short road"),
    (EntersAloneThoughAsked, "two read|short road"),
    (EntersAloneWithATurnThatWasLeft, "short road"),
    (EntersAloneBeforeItHoldsItsTurn, "two read"),
    (NotesBeforeItRings, "for ever"),
    (SleepsWithoutAsking, "for ever"),
    (ReadsWithoutLookingAgain, "two read"),
    (OverlooksWhatIsTorn, "behind one"),
    (ForgetsBeforeItWakes, "for ever"),
    (KeepsTheTurnOfTheOther, "for ever"),
]


@pytest.mark.parametrize(("mutant", "text"), LOOPS)
def test_model_catches_a_channel_that_does_one_thing_else(mutant: type[Model], text: str) -> None:
    """Each step of the threads is needed as it is."""
    with pytest.raises(Broken, match=text):
        explore(mutant(), World((2, 1), 1, 0))
