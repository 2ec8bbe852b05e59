"""Waiting for a socket, with a deadline."""

from __future__ import annotations

from threading import TIMEOUT_MAX
from time import monotonic

from bgpy.calling.blocking.waiting import patience


def test_time_is_what_is_left_of_it() -> None:
    """Never below nothing, and without end where there is no deadline."""
    assert 0 < patience(monotonic() + 30) <= 30
    assert patience(None) == -1
    assert patience(monotonic() - 1) == 0.0
    assert patience(float("inf")) == TIMEOUT_MAX
