"""Truths of `Client.initialize`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgpy import CallTimeout, Client, Handle, NotInitialized, StaleCodeWarning, respond
from tests.support.gate import Gate, pass_gate
from tests.support.tasks.counting import TASKS, count
from tests.support.tokens import own_token

Start = Callable[..., tuple[Handle, Client]]

DONE = {"message": "Initialization successful."}
ALREADY = {"message": "Already initialized."}


def _no_state() -> None: ...


def _tell(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, state)


def test_initialize_says_that_it_was_successful_at_the_first_time(start: Start) -> None:
    """The first initialize gives 0.3.1's words, which code compares with."""
    assert start()[1].initialize(*TASKS) == DONE


def test_initialize_changes_nothing_at_the_second_time(client: Client) -> None:
    """A second initialize is answered, not raised, and state and tasks stay."""
    client.call({"run": count})
    with pytest.warns(StaleCodeWarning, match="exec_task"):
        assert client.initialize(lambda: {"count": 77}, _tell, _tell) == ALREADY
    assert client.call({"run": count}) == 1


@pytest.mark.filterwarnings("ignore::bgpy.StaleCodeWarning")
def test_initialize_has_one_winner_when_clients_come_at_once(start: Start) -> None:
    """Of several initialisations at one time exactly one is done, and its state is used."""
    handle, first = start()
    token = own_token(first)
    barrier = threading.Barrier(8)

    def initialize(number: int) -> dict[str, str]:
        with Client(handle.host, handle.port, token) as client:
            client.ping()
            barrier.wait()
            return client.initialize(lambda: {"winner": number}, _tell, _tell)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(initialize, range(8)))
    assert sorted(answers, key=str) == [ALREADY] * 7 + [DONE]
    assert first.call({}) == {"winner": answers.index(DONE)}


def test_init_task_gets_the_client_socket_if_it_takes_one(start: Start) -> None:
    """An `init_task` with one parameter is called with the client socket."""
    _, client = start()
    client.initialize(lambda client_socket: hasattr(client_socket, "respond"), _tell, _tell)
    assert client.call({}) is True


def test_init_task_is_called_without_anything_if_it_takes_nothing(start: Start) -> None:
    """An `init_task` without parameters is called without."""
    _, client = start()
    client.initialize(lambda: "plain", _tell, _tell)
    assert client.call({}) == "plain"


def test_initialize_raises_what_init_task_raises_and_can_be_done_again(start: Start) -> None:
    """After a failed `init_task` the server has no tasks, and takes others."""
    _, client = start()

    def fail() -> None:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        client.initialize(fail, _tell, _tell)
    with pytest.raises(NotInitialized):
        client.call({})
    assert client.initialize(*TASKS) == DONE


def test_execute_waits_for_init_task_when_that_still_runs(start: Start, gate: Gate) -> None:
    """A call that comes while `init_task` runs is queued behind it, not refused."""
    handle, client = start()
    place = gate.place

    def init() -> str:
        pass_gate(place)
        return "made"

    with (
        ThreadPoolExecutor(1) as pool,
        Client(handle.host, handle.port, own_token(client)) as other,
    ):
        made = pool.submit(client.initialize, init, _tell, _tell)
        gate.wait()
        assert other.execute({}) == {"message": "Received 'EXEC'"}
        gate.open()
        assert made.result() == DONE
        assert other.call({}) == "made"


def test_timeout_of_initialize_is_named_as_it_was_given(start: Start, gate: Gate) -> None:
    """Not what was left of it when the functions had been packed."""
    _, client = start()
    place = gate.place

    def init() -> None:
        pass_gate(place)

    with pytest.raises(CallTimeout, match=r"^no answer from .* within 0\.75 s"):
        client.initialize(init, _tell, _tell, timeout=0.75)
    gate.wait()
    gate.open()


def test_init_task_responds_into_the_void(start: Start) -> None:
    """`initialize` doesn't wait for a response, so one is dropped and nothing is hurt."""
    _, client = start()

    def init(client_socket: Any) -> str:
        respond(client_socket, {"heard": False})
        return "made"

    assert client.initialize(init, _tell, _tell) == DONE
    assert client.call({}) == "made"


@pytest.mark.parametrize(
    ("tasks", "named"),
    [
        ((lambda a, b: None, _tell, _tell), "init_task"),
        ((_no_state, lambda: None, _tell), "exec_task"),
        ((_no_state, _tell, lambda: None), "exit_task"),
        ((_no_state, "exec", _tell), "exec_task"),
    ],
)
def test_initialize_refuses_what_can_not_be_called_as_a_task(tasks: Any, named: str) -> None:
    """It is told at the caller, naming the function, before anything is sent."""
    with pytest.raises(TypeError, match=named):
        Client("127.0.0.1", 1, "no server is asked").initialize(*tasks)
