"""Truths of `execute`, `call`, `ping`, `close` and `respond`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest

from bgpy import AlreadyResponded, Client, Handle, NoResponse, NotRunning, Server, respond
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]
RECEIVED = {"message": "Received 'EXEC'"}


def _no_state() -> None: ...


def _exit(client_socket: Any, state: Any, args: Any) -> None: ...


def _echo(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, args, args.get("error", False))


def test_execute_returns_when_queued_though_a_task_runs(client: Client, gate: Gate) -> None:
    """Without `await_response` the caller gets its receipt while another task still runs."""
    assert client.execute({"run": gate.passing()}) == RECEIVED
    gate.wait()
    assert client.execute({"run": count}) == RECEIVED
    gate.open()
    assert client.call({"run": count}) == 2


def test_call_gives_what_execute_gives_when_it_waits(client: Client) -> None:
    """`call` and `execute(..., await_response=True)` are one."""
    assert client.call({"run": lambda state: "here"}) == "here"
    assert client.execute({"run": lambda state: "here"}, await_response=True) == "here"


def test_args_tell_the_task_whether_the_caller_waits(start: Start) -> None:
    """The task's dict has the key `await_response`; the caller's own dict is not touched."""
    _, client = start()

    def remember(client_socket: Any, state: list[Any], args: dict[str, Any]) -> list[Any]:
        respond(client_socket, [*state, args])
        return [*state, args]

    client.initialize(lambda: ["made"], remember, _exit)
    args = {"number": 1}
    client.execute(args)
    assert client.call(args) == [
        "made",
        {"number": 1, "await_response": False},
        {"number": 1, "await_response": True},
    ]
    assert args == {"number": 1}


def test_state_is_what_the_last_task_returned_and_stays_with_none(start: Start) -> None:
    """A returned object is the next state; None keeps the one there is."""
    _, client = start()

    def set_to(client_socket: Any, state: Any, args: dict[str, Any]) -> Any:
        respond(client_socket, state)
        return args["next"]

    client.initialize(lambda: "first", set_to, _exit)
    assert [client.call({"next": each}) for each in (None, "second", None, 0, None)] == [
        "first",
        "first",
        "second",
        "second",
        0,
    ]


def test_respond_with_error_is_returned_and_logged_on_both_sides(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """An error response reaches the caller as the dict that was sent, and both logs."""
    handle, client = start()
    client.initialize(_no_state, _echo, _exit)
    with caplog.at_level(logging.ERROR, "bgpy"):
        answer = client.call({"error": True, "text": "no such table"})
    assert answer["text"] == "no such table"
    assert "no such table" in caplog.text
    assert handle.log_file is not None
    assert "no such table" in Path(handle.log_file).read_text()


def test_respond_twice_is_an_error_and_the_first_stands(start: Start) -> None:
    """A second response to one call raises in the task; the caller has the first."""
    _, client = start()

    def twice(client_socket: Any, state: Any, args: Any) -> str | None:
        respond(client_socket, state)
        try:
            respond(client_socket, "again")
        except AlreadyResponded as error:
            return type(error).__name__
        return None

    client.initialize(lambda: "first", twice, _exit)
    assert client.call({}) == "first"
    assert client.call({}) == "AlreadyResponded"


def test_respond_is_dropped_when_nobody_waits(start: Start) -> None:
    """A task may respond to a call that doesn't wait; the next answer is not confused by it."""
    _, client = start()
    client.initialize(_no_state, _echo, _exit)
    client.execute({"number": 1})
    assert client.call({"number": 2})["number"] == 2


def test_calls_of_one_client_run_in_their_order(start: Start) -> None:
    """What one client asks for first runs first."""
    _, client = start()

    def append(client_socket: Any, state: list[int], args: dict[str, Any]) -> list[int]:
        state.append(args["number"])
        respond(client_socket, state)
        return state

    client.initialize(lambda: [-1], append, _exit)
    for number in range(50):
        client.execute({"number": number})
    assert client.call({"number": 50}) == list(range(-1, 51))


def test_ping_is_answered_while_a_task_runs(client: Client, gate: Gate) -> None:
    """Seconds there and back, also when the task thread is taken."""
    client.execute({"run": gate.passing()})
    gate.wait()
    assert client.ping() > 0


def test_port_0_takes_a_free_port_and_tells_it() -> None:
    """`server.port` is 0 before, and afterwards where the server listens."""
    server = Server("127.0.0.1", 0)
    assert server.port == 0
    handle = server.run_background()
    try:
        assert server.port == handle.port > 0
        assert Client("127.0.0.1", server.port).ping() > 0
    finally:
        handle.kill()


def test_close_leaves_the_server_alone(running: tuple[Handle, Client]) -> None:
    """After `with Client(...)` the server runs on, and a closed client connects again."""
    handle, client = running
    with client as same:
        same.call({"run": count})
    assert handle.is_alive()
    assert client.call({"run": count}) == 1


def test_client_works_when_it_was_made_before_its_server(start: Start, free_port: int) -> None:
    """It says that nothing runs there, and works once something does."""
    client = Client("127.0.0.1", free_port)
    with pytest.raises(NotRunning):
        client.ping()
    start(port=free_port)
    with client:
        client.initialize(*TASKS)
        assert client.call({"run": count}) == 0


def test_large_array_travels_there_and_back(start: Start) -> None:
    """256 MiB come back as they were, and can be written to."""
    _, client = start()
    client.initialize(_no_state, _echo, _exit)
    sent = numpy.arange(2**25, dtype=numpy.float64)
    received = client.call({"array": sent})["array"]
    assert numpy.array_equal(received, sent)
    received[0] = 1


def test_large_array_of_one_client_does_not_stop_another(client: Client, start: Start) -> None:
    """Small calls are served while large ones are under way."""

    array = numpy.ones(2**22)

    def double(state: Any) -> Any:
        return array * 2

    with (
        ThreadPoolExecutor(4) as pool,
        Client(client.host, client.port) as other,
    ):
        large = [pool.submit(client.call, {"run": double}) for _ in range(4)]
        small = [other.call({"run": lambda state: 7}) for _ in range(20)]
        assert all(each.result().sum() == 2**23 for each in large)
    assert small == [7] * 20


@pytest.mark.parametrize("args", [None, [1], "args", 7])
def test_args_must_be_a_dict(args: Any) -> None:
    """It is told at the caller, before anything is sent."""
    with pytest.raises(TypeError, match="must be a dict"):
        Client("127.0.0.1", 1, "no server is asked").execute(args)


def _return(client_socket: Any, state: Any, args: Any) -> Any:
    return args.get("value")


def test_call_without_a_response_is_told_what_became_of_what_was_returned(start: Start) -> None:
    """And how a task responds; `terminate` is told of itself, and nobody of what he didn't use."""
    _, client = start()
    client.initialize(_no_state, _return, _exit)
    told = {}
    for name, wait in {
        "value": lambda: client.call({"value": 5}),
        "None": lambda: client.submit({}).result(),
        "terminate": lambda: client.terminate(await_response=True),
    }.items():
        with pytest.raises(NoResponse) as caught:
            wait()
        assert "respond(client_socket, value)" in str(caught.value.advice)
        assert "defer" not in str(caught.value).lower()
        told[name] = caught.value.problem
    assert "class int without responding, and that value became the state" in told["value"]
    assert "of class NoneType was before" in told["value"]
    assert "returned None" in told["None"]
    assert "exit_task" in told["terminate"]


def test_log_says_once_that_what_was_returned_became_the_state(start: Start) -> None:
    """Who calls `execute` waits for nothing, and would lose the state in silence."""
    handle, client = start()
    client.initialize(lambda: {"precious": 1}, _return, _exit)
    for value in [42, 43, 44, None]:
        client.execute({"value": value})
    client.terminate()
    assert handle.log_file is not None
    said = [line for line in Path(handle.log_file).read_text().splitlines() if "became" in line]
    assert len(said) == 2
    assert "WARNING" in said[0]
    assert "of class int without responding" in said[0]
    assert "class dict was before" in said[0]
    assert said[0].endswith("To answer, call respond(client_socket, value)")
    assert "INFO" in said[1]
