"""How much one client leaves unread: counted in the server's budget, and whether it is too much.

A client is *clogged* beyond its own limit, or where it has more than its fair share of what
the server may keep, until it has taken half. Used with the lock of its outflow.
"""

from __future__ import annotations

from bgpy.serving.budget import Budget

ALWAYS_KEPT = 2**16
"""Bytes that a client may leave unread whatever the others have."""


class Unread:
    """What one outflow keeps, as the budget knows it."""

    __slots__ = ("_budget", "_most", "clogged", "kept")

    def __init__(self, budget: Budget, most: int) -> None:
        """`most` bytes are the client's own limit."""
        self._budget = budget
        self._most = most
        self.kept = 0
        """Bytes that the budget counts."""
        self.clogged = False
        """They are too many: nothing more runs for the client until it has taken half."""

    def count(self, size: int) -> bool:
        """Count that `size` bytes are kept now; False where there is no room for more."""
        before = self.kept
        if size != before and not self._budget.keep(self, size) and size > before:
            return False
        fair = size <= ALWAYS_KEPT or self._budget.admits(size, 0)
        if self.clogged:
            self.clogged = size > self._most // 2 or not fair
        else:
            self.clogged = size >= self._most or not fair
        return True

    def forget(self) -> None:
        """Nothing is kept any more."""
        self.clogged = False
        if self.kept:
            self._budget.keep(self, 0)
