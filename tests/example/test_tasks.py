"""The counter that comes with bgpy."""

from __future__ import annotations

from typing import Any

import pytest

from bgpy.example.tasks import exec_task, exit_task, init_task
from tests.support.outlets import Through


class Replies:
    """An outlet that keeps what was sent through it."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, bool]] = []
        self.failures: list[BaseException] = []

    def reply(self, response: Any, error: bool) -> None:
        self.sent.append((response, error))

    def fail(self, failure: BaseException) -> None:
        self.failures.append(failure)


@pytest.mark.parametrize(
    ("command", "value_change", "value"),
    [("increase", 10, 1010), ("decrease", 100, 900), ("rest", 5, 1000)],
)
def test_exec_task_counts_and_changes_when_asked(
    command: str, value_change: int, value: int
) -> None:
    """Each request is counted, and the value changes as the command says."""
    replies = Replies()
    request = {"command": command, "value_change": value_change}
    state = exec_task(Through(replies, waits=False), init_task(), request)
    assert state == {"request_count": 1, "value": value}
    assert replies.sent == []


def test_exit_task_answers_with_the_state_when_the_server_ends() -> None:
    """The end is counted as a request, and the last state is the answer."""
    replies = Replies()
    exit_task(Through(replies, waits=True), init_task(), {})
    assert replies.sent == [({"request_count": 1, "value": 1000, "status": "Exited."}, False)]
    assert replies.failures == []
