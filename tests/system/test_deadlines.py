"""Seconds and deadlines, there and back."""

from __future__ import annotations

from time import monotonic

from bgpy.system.deadlines import deadline_in, is_over, seconds_left


def test_no_limit_stays_none() -> None:
    """Or becomes what the caller waits at most by itself."""
    assert deadline_in(None) is None
    assert seconds_left(None) is None
    assert seconds_left(None, 7.0) == 7.0
    assert not is_over(None)


def test_seconds_come_back_as_what_is_left_of_them() -> None:
    """Never below nothing."""
    before = monotonic()
    deadline = deadline_in(30.0)
    assert deadline is not None
    assert before + 30.0 <= deadline <= monotonic() + 30.0
    left = seconds_left(deadline)
    assert left is not None
    assert 0.0 < left <= 30.0
    assert not is_over(deadline)
    assert seconds_left(monotonic() - 1.0) == 0.0
    assert is_over(monotonic() - 1.0)
