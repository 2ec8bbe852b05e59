"""What is said of a call whose time is over."""

from __future__ import annotations

import pytest

from bgpy.calling.timeouts import not_connected, timed_out
from bgpy.errors import Progress


@pytest.mark.parametrize("progress", ["not started", "started", "unknown"])
def test_timed_out_says_how_far_the_call_came(progress: Progress) -> None:
    """As an attribute and in words."""
    error = timed_out(0.5, progress, "here:5")
    assert error.progress == progress
    assert str(error).startswith("no answer from here:5 within 0.5 s")


def test_call_without_a_connection_was_not_sent() -> None:
    """It can be made again."""
    error = not_connected(0.5, "here:5")
    assert error.progress == "not started"
    assert str(error) == "no connection to here:5 within 0.5 s: the call was not sent"
