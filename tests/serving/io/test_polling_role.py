"""The moving role: every interleaving of the two threads, and mutants that must be caught."""

from __future__ import annotations

import pytest

from bgpy.serving.io import polling_role as role
from bgpy.serving.io.polling_role import Look, PollingRole
from tests.support.role_model import Broken, Model, Step, World, changed
from tests.support.role_walk import explore

SCENARIOS: list[tuple[tuple[int, ...], str, int, int, int]] = [
    ((2,), "", 0, 0, 1_000),
    ((1, 1), "", 0, 0, 1_500),
    ((2, 1), "", 0, 0, 5_000),
    ((2,), "", 1, 0, 5_000),
    ((1,), "send", 1, 0, 5_000),
    ((1,), "interrupt", 0, 0, 4_000),
    ((2,), "stop", 0, 0, 5_000),
    ((1,), "stop", 1, 0, 5_000),
    ((2,), "", 0, 1, 5_000),
    ((1,), "", 1, 2, 5_000),
    ((1,), "interrupt", 0, 1, 5_000),
    ((1,), "stop", 0, 1, 5_000),
]
"""Requests of each client, what a third thread does, answers too large for the socket,
exceptions that strike the task thread anywhere, and how many states that is at least."""


@pytest.fixture(autouse=True)
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quiet ticks instead of ten: the same states, five times fewer."""
    monkeypatch.setattr(role, "QUIET_TICKS", 2)


def _walk(
    model: Model, requests: tuple[int, ...], other: str = "", sends: int = 0, strikes: int = 0
) -> int:
    return explore(model, model.begin(requests, other, sends, strikes))


@pytest.mark.parametrize(("requests_", "other", "sends", "strikes", "least"), SCENARIOS)
def test_role_keeps_its_invariants_when_threads_interleave_in_any_way(
    requests_: tuple[int, ...], other: str, sends: int, strikes: int, least: int
) -> None:
    """One poller, somebody in reach, no wait for ever, all run once in order, then quiet."""
    states = _walk(Model(), requests_, other, sends, strikes)
    print(f"{requests_} {other or 'nobody else'} {sends} large {strikes} strikes: {states} states")
    assert states > least


def test_model_reaches_every_step_of_both_threads_when_walked() -> None:
    """The walk is not empty: takeovers, waits, handing back and the end all happen."""
    model = Visits()
    _walk(model, (2,), "stop", 1, 0)
    assert model.missing() == set()


class Visits(Model):
    """The model, keeping track of where its threads have been."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, str]] = set()

    def steps(self, w: World) -> list[Step]:
        self._seen |= {("task", w.task), ("standby", w.standby)}
        return super().steps(w)

    def missing(self) -> set[tuple[str, str]]:
        """The steps of both threads that were never come to."""
        task = {("task", name) for name in self._task}
        return (task | {("standby", name) for name in self._standby}) - self._seen


# Mutants of the role: one method each


class LooksAndNeverSleeps(PollingRole):
    def look(self) -> Look:
        look = super().look()
        return Look.TICK if look is Look.SLEEP else look


class LooksAndSleepsWhileRunning(PollingRole):
    def look(self) -> Look:
        look = super().look()
        return Look.SLEEP if self.running and look is Look.TICK else look

    def is_quiet(self) -> bool:
        return True


class LooksAndNeverTakesOver(PollingRole):
    def look(self) -> Look:
        if self.running:
            self._calls_seen = self.calls - 1
        return super().look()


class SleepsWhateverRuns(PollingRole):
    def is_quiet(self) -> bool:
        return True


class SleepsArmed(PollingRole):
    def disarm(self) -> None:
        pass


class YieldsWithTheRole(PollingRole):
    def yield_role(self) -> None:
        super().yield_role()
        self.polling.acquire(False)


class YieldsAndSaysItHasIt(PollingRole):
    def yield_role(self) -> None:
        super().yield_role()
        self.standby = True


ROLES = [
    (LooksAndNeverSleeps, "the end, quiet, is out of reach"),
    (LooksAndSleepsWhileRunning, "nobody can reach the poll"),
    (LooksAndNeverTakesOver, "nobody can reach the poll"),
    (SleepsArmed, "nobody can reach the poll"),
    (SleepsWhateverRuns, "nobody can reach the poll"),
    (YieldsWithTheRole, "stuck|waits on|out of reach"),
    (YieldsAndSaysItHasIt, "polls without the role|out of reach"),
]


@pytest.mark.parametrize(("mutant", "text"), ROLES)
def test_model_catches_a_role_that_does_one_thing_else(
    mutant: type[PollingRole], text: str
) -> None:
    """Each method of the role is needed as it is."""

    class Mutant(Model):
        role_type = mutant

    with pytest.raises(Broken, match=text):
        _walk(Mutant(), (2,), "", 0)


# Mutants of the reactor's loops


class AsksWithoutWaking(Model):
    def wake(self, w: World) -> list[Step]:
        return [("no wake", w._replace(task="enter"))]


class LooksBeforeItSays(Model):
    """The standby may take the role between the look and the word."""

    def top(self, w: World) -> list[Step]:
        return [(name, after._replace(task="ask")) for name, after in super().top(w)]

    def ask(self, w: World) -> list[Step]:
        standby, w = self.call(w, lambda role: role.standby)
        return [("ask", w._replace(task="wake" if standby else "say"))]

    def wake(self, w: World) -> list[Step]:
        return [("wake", w._replace(task="say", wakes=True))]

    def say(self, w: World) -> list[Step]:
        return [(name, after._replace(task="enter")) for name, after in super().say(w)]


class GoesInWithoutAsking(Model):
    def say(self, w: World) -> list[Step]:
        return [("silence", w._replace(task="ask"))]


class PollsWithoutWaiting(Model):
    def enter(self, w: World) -> list[Step]:
        return [("enter", w._replace(task="own"))]


class PollsWithoutAsking(Model):
    def ask(self, w: World) -> list[Step]:
        return [("ask", w._replace(task="own"))]


class ClaimsWithoutALock(Model):
    def standby_claim(self, w: World) -> list[Step]:
        return [("claim", w._replace(standby="say"))]


class ClaimsWithoutAWord(Model):
    def standby_say(self, w: World) -> list[Step]:
        return [("silence", w._replace(standby="until", poller="standby"))]


class ClaimsWithoutLookingAgain(Model):
    """The task thread may have begun to poll since the look."""

    def standby_say(self, w: World) -> list[Step]:
        return [(name, after._replace(standby="changes")) for name, after in super().standby_say(w)]


class PollsAsDecidedBefore(Model):
    """Whether to wait is decided before the role is there: the standby received meanwhile."""

    def enter(self, w: World) -> list[Step]:
        at_once = w.has_jobs or w.stopping or w.interrupted
        if not w.at_once and at_once:
            return [("decide", w._replace(at_once=True))]
        return super().enter(w)

    def timeout(self, w: World) -> list[Step]:
        return [("timeout", w._replace(task="select"))]


class PollsOnWhenStopped(Model):
    """The standby met the byte that came with the stop."""

    def timeout(self, w: World) -> list[Step]:
        at_once = w.has_jobs or w.interrupted
        return [("timeout", w._replace(task="select", at_once=at_once))]


class PollsOnWhenInterrupted(Model):
    """The standby met the byte that came with the interrupt."""

    def timeout(self, w: World) -> list[Step]:
        at_once = w.has_jobs or w.stopping
        return [("timeout", w._replace(task="select", at_once=at_once))]


class RunsWhatTheStandbyDoesNotKnow(Model):
    """It doesn't say that it runs what came alone."""

    def leave(self, w: World) -> list[Step]:
        return [(name, after._replace(role=w.role)) for name, after in super().leave(w)]


class SaysThatItRunsTooLate(Model):
    """Once others may have the role."""

    def leave(self, w: World) -> list[Step]:
        return [("leave", w._replace(task="count" if w.at_once or w.has_jobs else "say"))]

    def count(self, w: World) -> list[Step]:
        steps = []
        for name, after in super().count(w):
            _, said = self.call(after, lambda role: setattr(role, "running", True))
            steps.append((name, said))
        return steps


class NeverCounts(Model):
    """The standby takes what it sees for the calls before."""

    def count(self, w: World) -> list[Step]:
        return [("no count", w._replace(task="heed"))]


class NeverRings(Model):
    def ring(self, w: World) -> list[Step]:
        return [("no ring", w._replace(task="heed"))]


class ChangesAfterThePoll(Model):
    def task_changes(self, w: World) -> list[Step]:
        return [("no change", w._replace(task="timeout"))]

    def task_handle(self, w: World) -> list[Step]:
        if not w.ready and w.changes:
            return [("change", changed(w))]
        return super().task_handle(w)


class ChangesWithoutWaking(Model):
    def told_of_change(self, w: World, thread: str) -> World:
        return w


class ForgetsWhoPolls(Model):
    def standby_say(self, w: World) -> list[Step]:
        return [(name, after._replace(poller=w.poller)) for name, after in super().standby_say(w)]


class SleepsByTheClock(Model):
    def standby_bell(self, w: World) -> list[Step]:
        return [("tick", w._replace(standby="look", bell=False))]


class LeavesTheWakesThere(Model):
    def standby_handle(self, w: World) -> list[Step]:
        return self._kept(w, super().standby_handle(w))

    def task_handle(self, w: World) -> list[Step]:
        return self._kept(w, super().task_handle(w))

    def _kept(self, w: World, steps: list[Step]) -> list[Step]:
        return [(name, after._replace(wakes=w.wakes)) for name, after in steps]


class StandbyEndsWithTheRole(Model):
    def standby_until(self, w: World) -> list[Step]:
        return [("end", w._replace(standby="ended"))] if w.stopping else super().standby_until(w)


class ClosesWithoutRinging(Model):
    def close(self, w: World) -> list[Step]:
        return [("close", w._replace(task="join", wakes=True))]


class ArmsBeforeItRings(Model):
    """A strike between leaves a standby that counts as armed, and sleeps."""

    def count(self, w: World) -> list[Step]:
        return [
            (name, after._replace(task="arm" if after.task == "ring" else after.task))
            for name, after in super().count(w)
        ]

    def arm(self, w: World) -> list[Step]:
        return [(name, after._replace(task="ring")) for name, after in super().arm(w)]

    def ring(self, w: World) -> list[Step]:
        return [(name, after._replace(task="heed")) for name, after in super().ring(w)]


class TakesTheChangeOutFirst(Model):
    """A strike while it is made loses it."""

    def struck(self, w: World) -> World:
        if w.task == "changes" and w.changes:
            w = w._replace(changes=w.changes - 1)
        return super().struck(w)


LOOPS = [
    (AsksWithoutWaking, (2,), "", 0, 0, "stuck|waits on"),
    (LooksBeforeItSays, (2,), "", 0, 0, "stuck|waits on|two threads poll"),
    (GoesInWithoutAsking, (2,), "", 0, 0, "two threads poll"),
    (PollsWithoutWaiting, (2,), "", 0, 0, "two threads poll|polls without the role"),
    (PollsWithoutAsking, (2,), "", 0, 0, "two threads poll|polls without the role"),
    (ClaimsWithoutALock, (2,), "", 0, 0, "two threads poll|polls without the role"),
    (ClaimsWithoutAWord, (2,), "", 0, 0, "two threads poll|polls without the role"),
    (ClaimsWithoutLookingAgain, (2,), "", 0, 0, "two threads poll|polls without the role"),
    (PollsAsDecidedBefore, (2,), "", 0, 0, "stuck|out of reach"),
    (PollsOnWhenStopped, (2,), "stop", 0, 0, "stuck|out of reach"),
    (PollsOnWhenInterrupted, (2,), "interrupt", 0, 0, "stuck|out of reach"),
    (RunsWhatTheStandbyDoesNotKnow, (1,), "", 0, 0, "nobody can reach the poll"),
    (NeverCounts, (2,), "", 0, 0, "nobody can reach the poll"),
    (NeverRings, (2,), "", 0, 0, "nobody can reach the poll"),
    (ChangesAfterThePoll, (1,), "send", 0, 0, "stuck"),
    (ChangesWithoutWaking, (1,), "", 1, 0, "nobody waits to send bytes"),
    (ForgetsWhoPolls, (1,), "", 1, 0, "nobody waits to send bytes"),
    (SleepsByTheClock, (1,), "", 0, 0, "not quiet"),
    (LeavesTheWakesThere, (2,), "", 0, 0, "out of reach"),
    (StandbyEndsWithTheRole, (2,), "stop", 0, 0, "stuck|waits on"),
    (ClosesWithoutRinging, (1,), "stop", 0, 0, "stuck"),
    (ArmsBeforeItRings, (1,), "", 0, 1, "nobody can reach the poll"),
    (TakesTheChangeOutFirst, (1,), "", 1, 1, "nobody waits to send bytes|out of reach|stuck"),
]


@pytest.mark.parametrize(("mutant", "requests_", "other", "sends", "strikes", "text"), LOOPS)
def test_model_catches_a_loop_that_does_one_thing_else(
    mutant: type[Model],
    requests_: tuple[int, ...],
    other: str,
    sends: int,
    strikes: int,
    text: str,
) -> None:
    """Each step of the two threads is needed as it is."""
    with pytest.raises(Broken, match=text):
        _walk(mutant(), requests_, other, sends, strikes)
