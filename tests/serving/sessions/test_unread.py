"""What a client leaves unread: counted once, and too much at a limit of its own or of all."""

from __future__ import annotations

from bgpy.serving.budget import Budget
from bgpy.serving.sessions.unread import ALWAYS_KEPT, Unread


def test_client_is_clogged_until_it_has_taken_half() -> None:
    """Not at every byte above and below the limit."""
    unread = Unread(Budget(2**30), 1000)
    clogged = []
    for size in (999, 1000, 999, 501, 500, 999, 1001, 0):
        assert unread.count(size)
        clogged.append(unread.clogged)
    assert clogged == [False, True, True, True, False, False, True, False]


def test_client_is_clogged_where_it_has_more_than_its_share() -> None:
    """Of what the others leave free; a little may always be kept."""
    budget = Budget(8 * ALWAYS_KEPT)
    unread = Unread(budget, 2**40)
    budget.queued = 6 * ALWAYS_KEPT
    assert unread.count(ALWAYS_KEPT)
    assert not unread.clogged
    budget.queued = 5 * ALWAYS_KEPT
    assert unread.count(3 * ALWAYS_KEPT)
    assert unread.clogged
    budget.queued = 0
    assert unread.count(3 * ALWAYS_KEPT - 1)
    assert not unread.clogged


def test_there_is_no_room_for_more_than_all_may_have() -> None:
    """What grows less is kept, however much there is; all is counted whatever is said."""
    budget = Budget(1000)
    budget.queued = 900
    unread = Unread(budget, 2**40)
    assert not unread.count(200)
    assert (unread.kept, budget.unsent) == (200, 200)
    assert unread.count(150)
    assert unread.count(150)
    assert not unread.count(160)
    assert budget.unsent == 160


def test_what_is_forgotten_counts_no_more() -> None:
    """And keeps nobody from being served."""
    budget = Budget(10_000)
    unread = Unread(budget, 100)
    unread.count(500)
    unread.forget()
    unread.forget()
    assert (unread.kept, unread.clogged, budget.used) == (0, False, 0)
