"""What is said of a call whose time is over."""

from __future__ import annotations

import pytest

from bgpy.calling.timeouts import not_connected, timed_out, to_do
from bgpy.errors import Progress
from bgpy.wire.messages import Runs, Stage


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


@pytest.mark.parametrize(
    ("stage", "runs", "is_exit"),
    [
        (Stage.ENDING, Runs.OTHER, True),
        (Stage.RUNNING, Runs.EXIT, True),
        (Stage.RUNNING, Runs.OWN, False),
        (Stage.RUNNING, None, False),
    ],
)
def test_advice_can_be_followed(stage: Stage, runs: Runs | None, is_exit: bool) -> None:
    """Nothing gets the response that is discarded: what helps comes before, the next time."""
    told = to_do(stage, runs, 77)
    assert ("neither another terminate() nor a call gets its response now" in told) is is_exit
    assert ("get what is to be kept with call() before" in told) is is_exit
    assert "another time give a longer timeout" in told
    assert "'kill -9 77' on its machine" in told
    assert "wait longer" not in told
