"""The server's memory for its clients: how much each may have of what the others leave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import Limits
from bgpy.serving.budget import Budget, fitted

LIMIT = 1_000_000


def test_budget_leaves_something_for_each_when_all_take_what_they_may() -> None:
    """However greedy those before: nobody can take everything."""
    budget = Budget(LIMIT)
    shares = []
    for _ in range(8):
        most = max(size for size in range(0, LIMIT, 10) if budget.admits(0, size))
        budget.queued += most
        shares.append(most)
    assert all(share > 0 for share in shares)
    assert shares == sorted(shares, reverse=True)
    assert budget.used <= LIMIT


@given(st.integers(1, 10**12))
def test_client_alone_may_have_its_line_and_the_largest_message(limit: int) -> None:
    """What is refused is refused because of others, whatever the limits are."""
    limits = fitted(Limits(max_memory=limit, max_message=2**40, max_queued=2**40))
    budget = Budget(limit)
    budget.queued = line = limits.max_queued if limit >= 4 else 0
    assert budget.admits(line, limits.max_message if limit >= 4 else 0)


def test_limits_stay_as_they_are_when_they_fit() -> None:
    """The defaults do."""
    assert fitted(Limits()) == Limits()


class Keeper:
    """What keeps replies."""

    kept = 0


def test_budget_counts_what_is_kept_and_forgotten() -> None:
    """And says when replies are more than there is room for."""
    budget = Budget(100)
    one, other = Keeper(), Keeper()
    assert budget.keep(one, 60)
    budget.receiving, budget.queued = 20, 10
    assert budget.keep(other, 10)
    assert (budget.used, one.kept, other.kept) == (100, 60, 10)
    assert not budget.keep(other, 11)
    budget.keep(one, 0)
    assert (budget.unsent, budget.used) == (11, 41)
