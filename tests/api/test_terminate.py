"""Truths of `Client.terminate` and of what ends a server on purpose."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bgpy import (
    Client,
    DecodeError,
    EncodeError,
    Handle,
    Limits,
    MessageTooLarge,
    NoResponse,
    NotRunning,
    ServerGone,
    respond,
)
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]
RECEIVED = {"message": "Received 'EXIT'"}


def _nothing(client_socket: Any, state: Any, args: Any) -> None: ...


def _raise(client_socket: Any, state: Any, args: Any) -> None:
    raise LookupError("no goodbye")


def _echo(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, {**args, "state": state})


def test_terminate_returns_when_port_and_process_are_gone(start: Start, free_port: int) -> None:
    """When it returns, the port is free and there is no such process."""
    handle, client = start(port=free_port)
    client.initialize(*TASKS)
    assert client.terminate() == RECEIVED
    assert not handle.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((handle.host, handle.port))


def test_terminate_gives_what_exit_task_responds(start: Start) -> None:
    """With `await_response` the caller gets it; `exit_args` reach the task."""
    handle, client = start()
    client.initialize(lambda: "last", _nothing, _echo)
    assert client.terminate({"why": "done"}, await_response=True) == {
        "why": "done",
        "state": "last",
        "await_response": True,
    }
    assert not handle.is_alive()


def test_terminate_just_ends_a_server_without_tasks(start: Start) -> None:
    """Before initialize there is nothing to run."""
    handle, client = start()
    assert client.terminate() == RECEIVED
    assert not handle.is_alive()


@pytest.mark.parametrize("await_response", [False, True])
def test_terminate_raises_what_exit_task_raises(start: Start, await_response: bool) -> None:
    """The caller learns it, and the server has ended all the same."""
    handle, client = start()
    client.initialize(lambda: None, _nothing, _raise)
    with pytest.raises(LookupError, match="no goodbye"):
        client.terminate(await_response=await_response)
    assert not handle.is_alive()


def test_terminate_raises_no_response_when_exit_task_gives_none(start: Start) -> None:
    """Who waits for a response that never comes is told; the server has ended."""
    handle, client = start()
    client.initialize(lambda: None, _nothing, _nothing)
    with pytest.raises(NoResponse):
        client.terminate(await_response=True)
    assert not handle.is_alive()


def test_terminate_lets_run_what_is_queued_before(
    running: tuple[Handle, Client], gate: Gate
) -> None:
    """Requests of all clients that were there before still run, and are answered."""
    handle, client = running
    with ThreadPoolExecutor(2) as pool, Client(handle.host, handle.port) as other:
        client.execute({"run": gate.passing()})
        gate.wait()
        for _ in range(3):
            client.execute({"run": count})
        other.execute({"run": count})
        ended = pool.submit(client.terminate, await_response=True)
        gate.open()
        assert ended.result() == {"count": 5}
    assert not handle.is_alive()


def test_request_after_terminate_fails_as_not_started(
    running: tuple[Handle, Client], gate: Gate
) -> None:
    """What comes while the server ends is refused, and said not to have started."""
    handle, client = running
    with Client(handle.host, handle.port) as other, ThreadPoolExecutor(1) as pool:
        other.ping()
        ended = pool.submit(client.terminate, {"run": gate.passing()})
        gate.wait()
        with pytest.raises(ServerGone) as caught:
            other.call({"run": count})
        assert caught.value.progress == "not started"
        gate.open()
        assert ended.result() == RECEIVED


def test_terminate_of_nothing_says_so(start: Start, free_port: int) -> None:
    """A second terminate finds nothing there."""
    _, client = start(port=free_port)
    client.terminate()
    with pytest.raises(NotRunning):
        client.terminate()


def test_terminate_leaves_neither_record_nor_token(
    running: tuple[Handle, Client], bgpy_home: Path
) -> None:
    """What was kept for clients goes with the server; its log stays to be read."""
    handle, client = running
    client.terminate()
    left = {path.name for path in bgpy_home.rglob("*") if path.is_file()}
    assert not left & {"token", "record", "record.json"}
    assert handle.log_file is not None
    assert Path(handle.log_file).exists()


def test_stop_of_the_handle_runs_exit_task(start: Start, free_port: int, tmp_path: Path) -> None:
    """`stop` is terminating as a client does, and may be called again."""
    handle, client = start(port=free_port)
    left = tmp_path / "left"
    client.initialize(lambda: None, _nothing, lambda c, state, args: left.write_text("left"))
    assert handle.wait(0) is False
    assert handle.stop() is True
    assert handle.stop() is True
    assert handle.wait() is True
    assert left.read_text() == "left"
    with pytest.raises(NotRunning):
        client.ping()


def test_kill_of_the_handle_makes_room_for_another(start: Start, free_port: int) -> None:
    """After `kill` the address can be had again, and its old token is forgotten."""
    handle, _ = start(port=free_port)
    handle.kill()
    assert not handle.is_alive()
    _, client = start(port=handle.port)
    client.initialize(*TASKS)
    assert client.call({"run": count}) == 0


def test_terminate_ends_with_the_process_when_threads_of_the_user_go_on(
    running: tuple[Handle, Client],
) -> None:
    """A thread that isn't a daemon and never ends doesn't keep a terminated process."""
    handle, client = running

    def start_thread(state: Any) -> None:
        import threading

        threading.Thread(target=threading.Event().wait).start()

    client.call({"run": start_thread})
    client.terminate()
    assert not handle.is_alive()


def test_server_goes_on_when_its_exit_args_can_not_be_read(running: tuple[Handle, Client]) -> None:
    """Nothing ran, so nothing ends: the exit task still has its chance."""
    handle, client = running
    with pytest.raises(DecodeError, match="nowhere_to_be_found"):
        client.terminate({"object": Unreadable()})
    assert handle.is_alive()
    assert client.call({"run": read_state}) is not None
    client.terminate()
    assert not handle.is_alive()


def test_stop_gives_up_at_its_time_when_a_task_runs(
    running: tuple[Handle, Client], gate: Gate
) -> None:
    """The handle says that the server is still there; it ends when the task does."""
    handle, client = running
    client.execute({"run": gate.passing()})
    gate.wait()
    assert handle.stop(timeout=0.1) is False
    gate.open()
    assert handle.wait(60)


class Unreadable:
    """Names a module that only this side has."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("nowhere_to_be_found",)


def read_state(state: Any) -> str:
    return repr(state)


def test_every_one_returns_when_several_threads_terminate(start: Start, gate: Gate) -> None:
    """Through one client, whose connection ends below them."""
    handle, client = start()
    client.initialize(*TASKS)
    client.execute({"run": gate.passing()})
    gate.wait()
    with ThreadPoolExecutor(3) as pool:
        ended = [pool.submit(client.terminate) for _ in range(3)]
        gate.open()
        for each in ended:
            assert each.exception(30) is None or isinstance(each.exception(), ConnectionError)
    assert handle.wait(30)


def _respond_with_state(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, state)


def _respond_with_length(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, len(state["log"]))


def _with_lock() -> Any:
    return {"log": ["precious"], "lock": threading.Lock()}


def _with_too_much() -> Any:
    return {"log": ["precious"], "data": bytes(2**20)}


@pytest.mark.parametrize(
    ("init_task", "error"), [(_with_lock, EncodeError), (_with_too_much, MessageTooLarge)]
)
def test_terminate_keeps_the_server_whose_response_cannot_be_sent(
    start: Start, init_task: Any, error: type[Exception]
) -> None:
    """The state would be lost with it; it stays, the error says so, and `terminate` still ends."""
    handle, client = start(limits=Limits(max_message=2**19))
    client.initialize(init_task, _respond_with_length, _respond_with_state)
    for _ in range(2):
        with pytest.raises(error, match="keeps its state and keeps serving") as caught:
            client.terminate(await_response=True)
        assert "can stay in the state" not in str(caught.value)
    with Client(handle.address) as other:
        assert other.call({}) == client.call({}) == 1
        assert other.terminate() == RECEIVED
    assert not handle.is_alive()


def _fail_otherwise(client_socket: Any, state: Any, args: Any) -> None:
    try:
        respond(client_socket, state)
    except EncodeError as error:
        raise LookupError("no goodbye") from error


def test_terminate_ends_the_server_whose_exit_task_knew_better(start: Start) -> None:
    """An error of its own is what it raises, as ever."""
    handle, client = start()
    client.initialize(_with_lock, _nothing, _fail_otherwise)
    with pytest.raises(LookupError, match="no goodbye"):
        client.terminate(await_response=True)
    assert not handle.is_alive()
