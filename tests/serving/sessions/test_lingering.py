"""A session that lingers: what is left leaves, then what comes is dropped."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bgpy.serving.io.poller import READ, WRITE
from bgpy.serving.sessions.lingering import Lingering


class Ends:
    """Transport, outflow and watch of a session at once."""

    def __init__(self, waiting: bool, lost: BaseException | None = None) -> None:
        self.waiting = waiting
        self.lost = lost
        self.events = 0
        self.ended = 0
        self.coming: list[int | None] = []

    def set(self, events: int) -> None:
        self.events = events

    def end(self) -> None:
        self.ended += 1

    def receive_into(self, memory: memoryview) -> int | None:
        return self.coming.pop(0)


def _lingering(ends: Ends) -> Lingering:
    return Lingering(*cast("tuple[Any, ...]", (ends, ends, ends, None)))


def test_side_is_ended_once_when_everything_has_left() -> None:
    """Until then it waits to send; what comes is read all the while."""
    ends = Ends(waiting=True)
    lingering = _lingering(ends)
    assert lingering.end_side()
    assert (ends.events, ends.ended) == (READ | WRITE, 0)
    ends.waiting = False
    for _ in range(2):
        assert lingering.end_side()
        assert (ends.events, ends.ended) == (READ, 1)


@pytest.mark.parametrize("waiting", [True, False])
def test_side_can_not_be_ended_when_nothing_can_be_sent(waiting: bool) -> None:
    """There is nobody to wait for."""
    ends = Ends(waiting, OSError("reset"))
    assert not _lingering(ends).end_side()
    assert (ends.events, ends.ended) == (0, 0)


def test_what_comes_is_dropped_until_the_client_ends_its_side() -> None:
    """That nothing is there is no end."""
    ends = Ends(waiting=False)
    ends.coming = [100, None, 0]
    lingering = _lingering(ends)
    assert [lingering.drop(memoryview(bytearray(8))) for _ in range(3)] == [False, False, True]
