"""Truths of a server that goes away, and of another in its place."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgpy import (
    Client,
    Handle,
    NotInitialized,
    NotRunning,
    ServerGone,
    ServerRestarted,
    token_create,
)
from bgpy.calling.blocking import loss
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]


def test_restarted_server_is_told_once_and_then_served_by(start: Start, free_port: int) -> None:
    """`ServerRestarted` comes once, nothing of that call ran, and the state is new."""
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.initialize(*TASKS)
    client.call({"run": count})
    handle.kill()
    _, fresh = start(port=handle.port, token=token)
    fresh.initialize(*TASKS)
    with pytest.raises(ServerRestarted):
        client.execute({"run": count})
    assert client.call({"run": count}) == 0
    assert client.call({"run": count}) == 1


def test_restarted_server_is_told_of_again_at_the_next_restart(
    start: Start, free_port: int
) -> None:
    """Once per restart, whatever the call is; the new server has no tasks yet."""
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.ping()
    for _ in range(2):
        handle.kill()
        with pytest.raises(ConnectionError):
            client.ping()
        handle, _ = start(port=handle.port, token=token)
        with pytest.raises(ServerRestarted):
            client.call({"run": count})
        with pytest.raises(NotInitialized):
            client.call({"run": count})


def test_restarted_server_with_a_token_of_its_own_is_found_and_told_of(
    start: Start, free_port: int
) -> None:
    """A client without a token finds the one that the new server keeps."""
    handle, _ = start(port=free_port)
    with Client(handle.host, handle.port) as client:
        client.ping()
        handle.kill()
        start(port=handle.port)
        assert client.ping() > 0  # which is the same whatever server answers
        with pytest.raises(ServerRestarted):
            client.execute({})


def test_restart_is_no_concern_of_a_client_that_never_connected(
    start: Start, free_port: int
) -> None:
    """It knew no other server."""
    handle, _ = start(port=free_port)
    with Client(handle.host, handle.port) as client:
        handle.kill()
        start(port=handle.port)
        assert client.ping() > 0


def test_killed_server_ends_the_wait_of_all_its_clients(
    running: tuple[Handle, Client], gate: Gate
) -> None:
    """`ServerGone`, *unknown*, for who runs and for who is queued, also with several threads."""
    handle, client = running
    with (
        ThreadPoolExecutor(4) as pool,
        Client(handle.host, handle.port) as other,
    ):
        other.ping()
        waits = [pool.submit(client.call, {"run": gate.passing()})]
        gate.wait()
        waits += [pool.submit(each.call, {"run": count}) for each in (client, client, other)]
        client.ping()
        os.kill(handle.pid, signal.SIGKILL)
        for wait in waits:
            error = wait.exception(timeout=20)
            assert isinstance(error, ServerGone | NotRunning)
    assert isinstance(waits[0].exception(), ServerGone)
    assert waits[0].exception().progress == "unknown"  # type: ignore[union-attr]


def test_server_that_ends_by_itself_in_a_task_is_told(running: tuple[Handle, Client]) -> None:
    """A task that takes the process with it leaves its caller with `ServerGone`."""
    _, client = running

    def leave(state: object) -> None:
        os._exit(3)

    with pytest.raises(ServerGone) as caught:
        client.call({"run": leave})
    assert caught.value.progress == "unknown"
    with pytest.raises(ConnectionError):
        client.ping()


def test_restart_is_told_to_every_thread_whose_call_began_before(
    start: Start, free_port: int
) -> None:
    """Not to the one alone that happens to connect first."""
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.initialize(*TASKS)
    handle.kill()
    _, fresh = start(port=handle.port, token=token)
    fresh.initialize(*TASKS)
    began = client._caller._acquaintance.notified
    with pytest.raises(ServerRestarted):
        client.call({"run": count})
    channel = client._caller.channel
    assert channel is not None
    # What a call that began before compares, whenever it comes to it.
    assert channel.generation > began
    assert client.call({"run": count}) == 0


def test_client_that_initialises_a_restarted_server_needs_no_notice(
    start: Start, free_port: int
) -> None:
    """Nor does a ping; what ran is the new server's."""
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.initialize(*TASKS)
    handle.kill()
    start(port=handle.port, token=token)
    assert client.ping() > 0
    assert client.initialize(*TASKS) == {"message": "Initialization successful."}
    assert client.call({"run": count}) == 0


def test_client_that_ended_a_server_expects_another(start: Start, free_port: int) -> None:
    """It knows that the state is new, since it ended the one before."""
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.initialize(*TASKS)
    client.terminate()
    _, fresh = start(port=handle.port, token=token)
    fresh.initialize(*TASKS)
    assert client.call({"run": count}) == 0


@pytest.mark.parametrize("how", ["exit", "kill", "crash"])
def test_crash_is_told_with_pid_and_log_when_the_process_is_gone(
    start: Start, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who then asks whether the server lives, to start another, is told that it doesn't."""
    monkeypatch.setattr(loss, "MOMENT", 20.0)  # the process ends when its turn comes
    handle, client = start()
    client.initialize(_nothing, _die, _die)
    with pytest.raises(ServerGone, match=r"is gone, (cause unknown|its log says)") as caught:
        client.call({"how": how})
    assert not handle.is_alive()
    error = caught.value
    assert (error.pid, error.log_file, error.address) == (
        handle.pid,
        handle.log_file,
        handle.address,
    )
    assert error.progress == "unknown"
    assert error.advice is not None
    assert str(handle.log_file) in error.advice.api


def _die(client_socket: Any, state: Any, args: dict[str, Any]) -> None:
    if args["how"] == "exit":
        os._exit(4)
    elif args["how"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        ctypes.string_at(0)


def _nothing() -> None:
    pass
