"""Honest clients that are wrong: bad arguments, no tasks, calls to oneself; request ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpy import CallingSelf, CallTimeout, Client, DecodeError, EncodeError, Handle, NotInitialized
from tests.support.peers import wait_until
from tests.support.served import Served
from tests.support.tasks import attacked as tasks


class LoadsNowhere:
    """Can be pickled; what it becomes can't be made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


@pytest.mark.parametrize("args", [None, 1, "text", [("add", 1)], (), {1, 2}])
def test_call_raises_type_error_when_args_are_no_dict(served: Served, args: Any) -> None:
    """Before anything is sent: there is not even a connection."""
    with Client("127.0.0.1", served.port, served.token) as client:
        for call in (client.call, client.execute, client.terminate):
            if call == client.terminate and args is None:
                continue  # stands for no arguments there
            with pytest.raises(TypeError, match="dict"):
                call(args)
        assert client._caller.channel is None


@pytest.mark.parametrize(
    "functions",
    [
        (1, tasks.exec_task, tasks.exit_task),
        (tasks.init_task, None, tasks.exit_task),
        (tasks.init_task, tasks.exec_task, "exit_task"),
        (lambda one, two: 0, tasks.exec_task, tasks.exit_task),
        (tasks.init_task, lambda: 0, tasks.exit_task),
        (tasks.init_task, lambda client_socket, state: 0, tasks.exit_task),
        (tasks.init_task, tasks.exec_task, lambda a, b, c, d: 0),
    ],
)
def test_initialize_raises_type_error_when_tasks_can_not_be_called(
    served: Served, functions: tuple[Any, Any, Any]
) -> None:
    """What can't be called as a task will be is found before anything is sent."""
    with Client("127.0.0.1", served.port, served.token) as client:
        with pytest.raises(TypeError, match=r"(init|exec|exit)_task must"):
            client.initialize(*functions)
        assert client._caller.channel is None


def test_calls_raise_not_initialized_when_the_server_has_no_tasks(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """With and without waiting; and the server can be initialised afterwards."""
    _, client = start()
    for wait in (True, False):
        with pytest.raises(NotInitialized):
            client.execute({"add": 1}, wait)
    client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
    assert client.call({"add": 1}) == 1


def test_call_raises_encode_error_when_an_argument_can_not_travel(
    served: Served, tmp_path: Path
) -> None:
    """Nothing is sent; the error names the part."""
    with (
        open(tmp_path / "file", "w", encoding="utf-8") as file,
        pytest.raises(EncodeError, match="'deep'"),
    ):
        served.client.call({"add": 1, "deep": [file]})
    assert served.client.call({"add": 0}) == 0


def test_call_raises_decode_error_when_either_side_can_not_rebuild(served: Served) -> None:
    """Args that don't load there didn't run; a response that doesn't load here did."""
    with pytest.raises(DecodeError, match="args"):
        served.client.call({"add": 1, "what": LoadsNowhere()})
    assert served.client.call({"add": 0}) == 0


def test_call_raises_calling_self_when_a_task_calls_its_own_server(served: Served) -> None:
    """It could never be answered, so it fails at once, through to the first caller."""
    place = ("127.0.0.1", served.port, served.token)
    with pytest.raises(CallingSelf):
        served.client.call({"call_own_server": place}, timeout=20.0)


@pytest.mark.usefixtures("asks_long")
def test_withdrawing_means_the_right_call_when_a_client_was_closed_before(
    served: Served, tmp_path: Path
) -> None:
    """Request ids count on over connections, so an earlier request is never taken for this."""
    started, go_on = tmp_path / "started", tmp_path / "go on"
    with Client("127.0.0.1", served.port, served.token) as busy:
        busy.execute({"until": (str(started), str(go_on))})
    wait_until(started.exists, "the task has started")
    first_id = _ids(served.client)
    served.client.execute({"add": 1})
    served.client.close()
    with pytest.raises(CallTimeout) as caught:
        served.client.call({"add": 10}, timeout=0.05)
    assert caught.value.progress == "not started"
    assert _ids(served.client) > first_id
    go_on.touch()
    # The one that was queued ran, the one that was withdrawn did not.
    assert served.client.call({"add": 0}) == 1


def _ids(client: Client) -> int:
    return client._caller._access.shared.numbers.last
