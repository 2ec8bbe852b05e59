"""The memory of messages under way: counted as it is used, and refused to those that come last."""

from __future__ import annotations

from typing import cast

from bgpy.serving.budget import Budget
from bgpy.serving.sessions.intake import AHEAD, ALWAYS, Intake
from bgpy.serving.sessions.stall import Stall

LIMIT = 1_000_000


class Looks:
    """What looks whether something comes; counts how often it was begun."""

    def __init__(self) -> None:
        self.times = 0
        self.closed = False

    def watch(self) -> None:
        self.times += 1

    def close(self) -> None:
        self.closed = True


def _intake(budget: Budget) -> Intake:
    return Intake(budget, lambda: 0, cast(Stall, Looks()))


def test_intake_counts_a_small_part_when_it_is_announced() -> None:
    """Its memory is filled with zeros, so it is used from then on, until it has arrived."""
    budget = Budget(LIMIT)
    intake = _intake(budget)
    assert len(intake.allocate(150_000) or b"") == 150_000
    assert len(intake.allocate(80_000) or b"") == 80_000
    assert budget.receiving == intake.counted == 230_000
    assert intake.came(230_000, 10_000)
    assert budget.receiving == 230_000
    assert intake.came(0, 0)
    assert budget.receiving == 0


def test_intake_counts_a_large_part_as_it_comes() -> None:
    """And a little ahead, since its pages are huge."""
    budget = Budget(100 * AHEAD)
    intake = _intake(budget)
    size = 10 * AHEAD
    assert len(intake.allocate(size) or b"") == size
    assert budget.receiving == AHEAD
    assert intake.came(size, size - AHEAD)
    assert budget.receiving == 2 * AHEAD
    assert intake.came(size, 100)
    assert budget.receiving == size


def test_what_is_announced_and_does_not_come_costs_no_more_than_a_quarter() -> None:
    """However many announce: each has its memory, and an honest client still has its share."""
    budget = Budget(100 * AHEAD)
    announcers = [_intake(budget) for _ in range(200)]
    for intake in announcers:
        assert intake.allocate(40 * AHEAD) is not None
        assert intake.came(40 * AHEAD, 40 * AHEAD - 100)
    assert budget.used <= budget.ample + 200 * 100
    assert budget.admits(0, 50 * AHEAD)
    for intake in announcers:
        intake.close()
    assert budget.used == 0


def test_intake_gives_nothing_when_others_have_the_memory() -> None:
    """And counts nothing."""
    budget = Budget(LIMIT)
    budget.queued = 700_000
    intake = _intake(budget)
    assert intake.allocate(250_000) is None
    assert budget.receiving == 0


def test_message_has_no_memory_left_when_others_were_quicker() -> None:
    """All were admitted while nothing had come: who comes last is told as it comes."""
    budget = Budget(LIMIT)
    budget.queued = LIMIT // 4
    intakes = [_intake(budget) for _ in range(3)]
    for intake in intakes:
        assert intake.allocate(400_000) is not None
    first, second, third = intakes
    assert first.came(400_000, 100_000)
    assert second.came(400_000, 250_000)
    assert not third.came(400_000, 150_000)
    assert third.came(0, 0)  # thrown away
    assert first.came(400_000, 50_000)


def test_intake_takes_small_parts_when_nothing_is_left() -> None:
    """As much as a socket would keep anyway; that it is too much is said when it is whole."""
    budget = Budget(LIMIT)
    budget.queued = LIMIT
    intake = _intake(budget)
    assert intake.allocate(ALWAYS // 2) is not None
    assert intake.allocate(ALWAYS // 2) is not None
    assert intake.came(ALWAYS, 5)
    assert intake.allocate(1) is None
    intake.close()
    assert budget.receiving == 0


def test_message_that_began_behind_one_that_is_whole_stays_counted() -> None:
    """Both may come with one receive."""
    budget = Budget(LIMIT)
    intake = _intake(budget)
    intake.allocate(150_000)
    assert intake.came(150_000, 149_000)
    assert budget.receiving == 150_000
    intake.came(0, 0)
    assert budget.receiving == 0


def test_intake_has_its_progress_looked_at_while_a_message_is_under_way() -> None:
    """It counts receives; that they go on is seen by another."""
    looks = Looks()
    intake = Intake(Budget(LIMIT), lambda: 0, cast(Stall, looks))
    intake.proceeds()
    intake.proceeds()
    assert (intake.receives, looks.times) == (2, 2)
    intake.close()
    assert looks.closed
