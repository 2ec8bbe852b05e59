"""Truths of `CallTimeout`: what it knows, and what comes after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bgpy import CallTimeout, Client, Handle, respond
from tests.support.gate import Gate
from tests.support.tasks.counting import count

SHORT = 0.3


@pytest.mark.usefixtures("asks_long")
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


@pytest.mark.usefixtures("asks_long")
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


@pytest.mark.usefixtures("asks_long")
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


def test_fifty_threads_with_time_outs_get_the_truth_of_one_client(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """What was answered or had started runs once, what had not started never does."""
    _, client = start()

    def execute(client_socket: Any, state: list[int], args: dict[str, Any]) -> list[int]:
        if "number" in args:
            time.sleep(0.002)
            state.append(args["number"])
            respond(client_socket, args["number"])
        else:
            respond(client_socket, state)
        return state

    client.initialize(_nothing, execute, lambda socket, state, args: None)
    barrier = threading.Barrier(50)

    def work(thread: int) -> list[tuple[int, str | None]]:
        barrier.wait()
        ends = []
        for number in range(thread * 100, thread * 100 + 10):
            timeout = (number * 7919 % 31) / 100
            call = client.call if number % 3 else _submitted(client)
            try:
                assert call({"number": number}, timeout=timeout) == number
                ends.append((number, "answered"))
            except CallTimeout as error:
                ends.append((number, error.progress))
        return ends  # type: ignore[return-value]

    with ThreadPoolExecutor(50) as pool:
        ends = dict(end for ends in pool.map(work, range(50)) for end in ends)
    ran = client.call({})
    assert len(ran) == len(set(ran))
    assert len(ends) == 500
    assert set(ends.values()) >= {"answered", "not started"}
    known = {number for number, end in ends.items() if end in ("answered", "started")}
    unknown = {number for number, end in ends.items() if end == "unknown"}
    assert known <= set(ran) <= known | unknown


def _nothing() -> list[int]:
    return []


def _submitted(client: Client) -> Callable[..., Any]:
    return lambda args, timeout: client.submit(args, timeout=timeout).result(60)
