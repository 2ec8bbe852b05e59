"""The counter that comes with bgpy."""

from __future__ import annotations

import pytest

from bgpy.example.tasks import exec_task, exit_task, init_task
from tests.support.outlets import Outlet, through


@pytest.mark.parametrize(
    ("command", "value_change", "value"),
    [("increase", 10, 1010), ("decrease", 100, 900), ("rest", 5, 1000)],
)
def test_exec_task_counts_and_changes_when_asked(
    command: str, value_change: int, value: int
) -> None:
    """Each request is counted, and the value changes as the command says."""
    outlet = Outlet()
    request = {"command": command, "value_change": value_change}
    state = exec_task(through(outlet, False), init_task(), request)
    assert state == {"request_count": 1, "value": value}
    assert outlet.replies == []


def test_exit_task_answers_with_the_state_when_the_server_ends() -> None:
    """The end is counted as a request, and the last state is the answer."""
    outlet = Outlet()
    exit_task(through(outlet, True), init_task(), {})
    assert outlet.replies == [({"request_count": 1, "value": 1000, "status": "Exited."}, False)]
    assert outlet.failures == []
