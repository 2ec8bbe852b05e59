"""What the connections of one client have in common."""

from __future__ import annotations

from bgpy.calling.blocking.shared import Shared
from tests.support.channels import PLACE


def test_numbers_count_up_over_all_connections() -> None:
    """From 1, and each once: a retry can be recognised."""
    shared = Shared(PLACE)
    assert [shared.numbers.draw() for _ in range(3)] == [1, 2, 3]


def test_connection_without_a_client_has_no_sender() -> None:
    """One of its own, for one call: nothing stays behind on it."""
    assert Shared(PLACE).push_on() is None
