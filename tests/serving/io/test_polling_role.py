"""The moving role: every interleaving of the two threads, and mutants that must be caught."""

from __future__ import annotations

import pytest

from bgpy.serving.io import polling_role as role
from bgpy.serving.io.polling_role import Look, PollingRole
from tests.support.role_model import Broken, Model, Step, World, changed
from tests.support.role_walk import explore

SCENARIOS: list[tuple[tuple[int, ...], str, int, int]] = [
    ((2,), "", 0, 1_000),
    ((1, 1), "", 0, 1_500),
    ((2, 1), "", 0, 5_000),
    ((2,), "", 1, 5_000),
    ((1,), "send", 1, 5_000),
    ((1,), "interrupt", 0, 5_000),
    ((2,), "stop", 0, 5_000),
    ((1,), "stop", 1, 5_000),
]
"""Requests of each client, what a third thread does, answers too large for the socket,
and how many states that is at least."""


@pytest.fixture(autouse=True)
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quiet ticks instead of ten: the same states, five times fewer."""
    monkeypatch.setattr(role, "QUIET_TICKS", 2)


def _walk(model: Model, requests: tuple[int, ...], other: str, sends: int) -> int:
    return explore(model, model.begin(requests, other, sends))


@pytest.mark.parametrize(("requests_", "other", "sends", "least"), SCENARIOS)
def test_role_keeps_its_invariants_when_threads_interleave_in_any_way(
    requests_: tuple[int, ...], other: str, sends: int, least: int
) -> None:
    """One poller, somebody in reach, no wait for ever, all run once in order, then quiet."""
    states = _walk(Model(), requests_, other, sends)
    print(f"{requests_} {other or 'nobody else'} {sends} large: {states} states")
    assert states > least


def test_model_reaches_every_step_of_both_threads_when_walked() -> None:
    """The walk is not empty: takeovers, waits, handing back and the end all happen."""
    model = Visits()
    _walk(model, (2,), "stop", 1)
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


class AsksAndTakes(PollingRole):
    def ask(self, has_jobs: bool) -> bool:
        super().ask(has_jobs)
        return True


class AsksInSilence(PollingRole):
    def ask(self, has_jobs: bool) -> bool:
        mine = super().ask(has_jobs)
        self.asked = False
        return mine


class AsksWithoutTaking(PollingRole):
    def ask(self, has_jobs: bool) -> bool:
        mine = super().ask(has_jobs)
        if mine:
            self.polling.release()
        return mine


class ArmsSilently(PollingRole):
    def arm(self) -> bool:
        super().arm()
        return False


class LooksPastTheHolder(PollingRole):
    def look(self) -> Look:
        if self.running and self.calls == self._calls_seen and self.polling.locked():
            self.polling.release()
        return super().look()


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
    def yield_role(self) -> bool:
        asked = super().yield_role()
        self.polling.acquire(False)
        self.standby = True
        return asked


class YieldsWithoutFreeing(PollingRole):
    def yield_role(self) -> bool:
        super().yield_role()
        return False


class YieldsAndStaysAsked(PollingRole):
    def yield_role(self) -> bool:
        asked = super().yield_role()
        self.asked = asked
        return asked


ROLES = [
    (AsksAndTakes, "two threads poll|polls without the role"),
    (AsksInSilence, "stuck"),
    (AsksWithoutTaking, "two threads poll|polls without the role"),
    (ArmsSilently, "nobody can reach the poll"),
    (LooksPastTheHolder, "two threads poll|polls without the role"),
    (LooksAndNeverSleeps, "the end, quiet, is out of reach"),
    (LooksAndSleepsWhileRunning, "nobody can reach the poll"),
    (LooksAndNeverTakesOver, "nobody can reach the poll"),
    (SleepsArmed, "nobody can reach the poll"),
    (SleepsWhateverRuns, "nobody can reach the poll"),
    (YieldsWithTheRole, "stuck"),
    (YieldsWithoutFreeing, "stuck"),
    (YieldsAndStaysAsked, "out of reach|nobody can reach the poll"),
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
        return [("no wake", w._replace(task="wait"))]


class PollsAsDecidedBefore(Model):
    """Whether to wait is decided before the role is there: the standby received meanwhile."""

    def timeout(self, w: World) -> list[Step]:
        at_once = w.with_jobs or w.stopping or w.interrupted
        return [("timeout", w._replace(task="changes", at_once=at_once))]


class PollsOnWhenStopped(Model):
    """The standby met the byte that came with the stop."""

    def timeout(self, w: World) -> list[Step]:
        at_once = w.has_jobs or w.interrupted
        return [("timeout", w._replace(task="changes", at_once=at_once))]


class PollsOnWhenInterrupted(Model):
    """The standby met the byte that came with the interrupt."""

    def timeout(self, w: World) -> list[Step]:
        at_once = w.has_jobs or w.stopping
        return [("timeout", w._replace(task="changes", at_once=at_once))]


class RunsWhatTheStandbyDoesNotKnow(Model):
    """Jobs that came with an interrupt, after the poll was left without any."""

    def heed(self, w: World) -> list[Step]:
        return [(name, after._replace(task="run", told=True)) for name, after in super().heed(w)]


class NeverCounts(Model):
    """The standby takes what it sees for the calls before."""

    def count(self, w: World) -> list[Step]:
        return [("no count", w._replace(task="heed"))]


class NeverRings(Model):
    def ring(self, w: World) -> list[Step]:
        return [("no ring", w._replace(task="heed"))]


class ChangesAfterThePoll(Model):
    def task_changes(self, w: World) -> list[Step]:
        return [("no change", w._replace(task="select"))]

    def task_handle(self, w: World) -> list[Step]:
        if not w.ready and w.changes:
            return [("change", changed(w))]
        return super().task_handle(w)


class ChangesWithoutWaking(Model):
    def told_of_change(self, w: World, thread: str) -> World:
        return w


class ForgetsWhoPolls(Model):
    def standby_look(self, w: World) -> list[Step]:
        return [(name, after._replace(poller=w.poller)) for name, after in super().standby_look(w)]


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


LOOPS = [
    (AsksWithoutWaking, (2,), "", 0, "stuck"),
    (PollsAsDecidedBefore, (2,), "", 0, "stuck"),
    (PollsOnWhenStopped, (2,), "stop", 0, "stuck"),
    (PollsOnWhenInterrupted, (2,), "interrupt", 0, "stuck"),
    (RunsWhatTheStandbyDoesNotKnow, (1,), "interrupt", 0, "nobody can reach the poll"),
    (NeverCounts, (2,), "", 0, "nobody can reach the poll"),
    (NeverRings, (2,), "", 0, "nobody can reach the poll"),
    (ChangesAfterThePoll, (1,), "send", 0, "stuck"),
    (ChangesWithoutWaking, (1,), "", 1, "nobody waits to send bytes"),
    (ForgetsWhoPolls, (1,), "", 1, "nobody waits to send bytes"),
    (SleepsByTheClock, (1,), "", 0, "not quiet"),
    (LeavesTheWakesThere, (2,), "", 0, "out of reach"),
    (StandbyEndsWithTheRole, (2,), "stop", 0, "stuck"),
    (ClosesWithoutRinging, (1,), "stop", 0, "stuck"),
]


@pytest.mark.parametrize(("mutant", "requests_", "other", "sends", "text"), LOOPS)
def test_model_catches_a_loop_that_does_one_thing_else(
    mutant: type[Model], requests_: tuple[int, ...], other: str, sends: int, text: str
) -> None:
    """Each step of the two threads is needed as it is."""
    with pytest.raises(Broken, match=text):
        _walk(mutant(), requests_, other, sends)
