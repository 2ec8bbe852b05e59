"""Truths of `CallTimeout`: what it knows, and what comes after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgpy import CallTimeout, Client, Handle
from tests.support.gate import Gate
from tests.support.tasks.counting import count

SHORT = 0.3


def test_timeout_of_a_queued_call_means_that_it_never_runs(client: Client, gate: Gate) -> None:
    """*Not started*: the server has withdrawn the request."""
    client.execute({"run": gate.passing()})
    gate.wait()
    with pytest.raises(CallTimeout) as caught:
        client.call({"run": count}, timeout=SHORT)
    assert caught.value.progress == "not started"
    gate.open()
    # Only the one that passed the gate ran.
    assert client.call({"run": count}) == 1


def test_timeout_of_a_running_call_says_started_and_its_reply_is_dropped(
    client: Client, gate: Gate
) -> None:
    """*Started*: the task goes on; the next call on that client gets its own answer."""
    with pytest.raises(CallTimeout) as caught:
        client.call({"run": gate.passing("late")}, timeout=SHORT)
    assert caught.value.progress == "started"
    assert client.ping() > 0
    gate.wait()
    gate.open()
    assert client.call({"run": count}) == 1


def test_timeout_leaves_the_connection_usable(running: tuple[Handle, Client], gate: Gate) -> None:
    """After one the client goes on with the connection that it had."""
    handle, client = running

    def clients(state: Any) -> int:
        import psutil

        return sum(each.status == "ESTABLISHED" for each in psutil.Process().net_connections())

    before = client.call({"run": clients})
    with pytest.raises(CallTimeout):
        client.call({"run": gate.passing()}, timeout=SHORT)
    gate.wait()
    gate.open()
    assert client.call({"run": clients}) == before
    assert handle.log_file is not None
    # A connection that ends leaves a line in the log.
    assert " client " not in Path(handle.log_file).read_text()


def test_timeout_is_per_client_and_per_call(running: tuple[Handle, Client], gate: Gate) -> None:
    """A client's own holds for each call that doesn't say otherwise; None is no limit."""
    handle, client = running
    client.execute({"run": gate.passing()})
    gate.wait()
    with Client(handle.host, handle.port, timeout=SHORT) as hasty:
        with pytest.raises(CallTimeout, match=str(SHORT)):
            hasty.call({"run": count})
        with pytest.raises(CallTimeout, match=r"0\.01"):
            hasty.call({"run": count}, timeout=0.01)
        gate.open()
        assert hasty.call({"run": count}, timeout=None) == 1


def test_timeout_of_terminate_is_told(running: tuple[Handle, Client], gate: Gate) -> None:
    """`terminate` doesn't wait longer either; the server ends when the task has."""
    handle, client = running
    with pytest.raises(CallTimeout, match=r"exit_task has run|still running") as caught:
        client.terminate({"run": gate.passing()}, timeout=SHORT)
    assert caught.value.progress == "started"
    gate.wait()
    gate.open()
    assert handle.wait(30)


def test_timeout_of_terminate_behind_a_task_says_that_the_exit_task_has_not_begun(
    running: tuple[Handle, Client], gate: Gate
) -> None:
    """The end is under way all the same."""
    handle, client = running
    client.execute({"run": gate.passing()})
    gate.wait()
    with pytest.raises(CallTimeout, match="the server is ending; exit_task has not begun"):
        client.terminate(timeout=SHORT)
    gate.open()
    assert handle.wait(30)


def test_timeout_is_a_builtin_timeout_error() -> None:
    """Code that catches `TimeoutError` or `OSError` goes on working."""
    assert issubclass(CallTimeout, TimeoutError)
    assert issubclass(CallTimeout, OSError)
