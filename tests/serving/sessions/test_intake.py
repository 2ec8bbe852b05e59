"""The memory of messages under way: counted, or thrown away as they come."""

from __future__ import annotations

from bgpy.serving.budget import Budget
from bgpy.serving.sessions.intake import ALWAYS, Intake
from bgpy.wire.messages import Execute, Status

LIMIT = 1_000_000


def test_intake_counts_what_a_message_announces_until_it_has_arrived() -> None:
    """Before any of it has come: many that announce much can't take more than there is."""
    budget = Budget(LIMIT)
    intake = Intake(budget, lambda: 0)
    assert len(intake.allocate(300_000)) == 300_000
    assert len(intake.allocate(200_000)) == 200_000
    assert budget.receiving == 500_000
    intake.arrived()
    assert budget.receiving == 0
    assert not intake.throws


def test_intake_throws_a_message_away_when_others_have_the_memory() -> None:
    """All of it, and no other message."""
    budget = Budget(LIMIT)
    budget.queued = 700_000
    intake = Intake(budget, lambda: 0)
    head, buffer = intake.allocate(250_000), intake.allocate(100)
    assert intake.throws
    assert budget.receiving == 0
    assert not intake.was_thrown(Execute(1, b"another", [memoryview(b"buffer")]))
    assert intake.was_thrown(Execute(2, head[16:], [buffer]))
    assert not intake.throws


def test_intake_knows_a_text_that_was_thrown_away() -> None:
    """None that was sent begins with a zero."""
    budget = Budget(LIMIT)
    budget.queued = LIMIT
    intake = Intake(budget, lambda: 0)
    head = intake.allocate(100_000)
    assert not intake.was_thrown(Status(1, "{}"))
    assert intake.was_thrown(Status(1, str(head, "utf-8")))


def test_intake_takes_small_parts_when_nothing_is_left() -> None:
    """As much as a socket would keep anyway; that it is too much is said when it is whole."""
    budget = Budget(LIMIT)
    budget.queued = LIMIT
    intake = Intake(budget, lambda: 0)
    intake.allocate(ALWAYS // 2)
    intake.allocate(ALWAYS // 2)
    assert not intake.throws
    intake.allocate(1)
    assert intake.throws
    intake.close()
    assert (budget.receiving, intake.throws) == (0, False)


def test_message_that_began_behind_one_that_is_whole_stays_counted() -> None:
    """Both may come with one receive."""
    budget = Budget(LIMIT)
    intake = Intake(budget, lambda: 0)
    intake.allocate(300_000)
    intake.arrived(under_way=300_000)
    assert budget.receiving == 300_000
    intake.arrived()
    assert budget.receiving == 0


def test_text_that_begins_with_a_zero_is_not_taken_for_what_was_thrown_away() -> None:
    """Else a client could have a large message kept that there is no room for."""
    budget = Budget(LIMIT)
    budget.queued = LIMIT
    intake = Intake(budget, lambda: 0)
    intake.allocate(100_000)
    assert not intake.was_thrown(Status(1, "\0 short"))
    assert intake.throws
