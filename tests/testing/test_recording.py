"""Truths of the stand-in for a client socket: it keeps the rules of a server."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bgpy import AlreadyResponded, ClientSocket, EncodeError, NoResponse, RemoteError, respond
from bgpy.testing import RecordingSocket


def exec_task(client_socket: ClientSocket, state: dict[str, Any], args: dict[str, Any]) -> Any:
    state["value"] += args["add"]
    respond(client_socket, state)
    return state


def test_result_is_what_the_task_responded() -> None:
    """A task runs as the plain function that it is, and its response is kept."""
    client_socket = RecordingSocket()
    assert exec_task(client_socket, {"value": 1}, {"add": 2}) == {"value": 3}
    assert client_socket.result() == {"value": 3}
    assert client_socket.answered
    assert not client_socket.error


def test_result_is_a_copy_as_a_client_would_get_it() -> None:
    """What the task changes later is not in it, large arrays included."""
    client_socket = RecordingSocket()
    state: dict[str, Any] = {"value": 1, "large": np.zeros(2**17)}
    exec_task(client_socket, state, {"add": 2})
    state["value"] = 9
    state["large"][0] = 9
    assert client_socket.result()["value"] == 3
    assert client_socket.result()["large"][0] == 0


def test_response_is_marked_where_the_task_marks_it() -> None:
    """An error that is responded is returned, as a client's call does."""
    client_socket = RecordingSocket()
    respond(client_socket, "no such command", error=True)
    assert client_socket.result() == "no such command"
    assert client_socket.error


def test_second_response_is_refused() -> None:
    """A call has one answer, which stays the first."""
    client_socket = RecordingSocket()
    respond(client_socket, 1)
    with pytest.raises(AlreadyResponded):
        respond(client_socket, 2)
    assert client_socket.result() == 1


def test_response_that_cannot_travel_is_refused() -> None:
    """The task learns of it as on a server, and may respond with something else."""
    client_socket = RecordingSocket()
    with pytest.raises(EncodeError, match="response"):
        respond(client_socket, threading.Lock())
    respond(client_socket, "instead")
    assert client_socket.result() == "instead"


def test_result_without_a_response_says_what_the_caller_would_get() -> None:
    """The same error that a call raises when its task forgets to respond."""
    with pytest.raises(NoResponse, match="not responded"):
        RecordingSocket().result(timeout=60)


def test_caller_that_does_not_wait_gets_nothing() -> None:
    """The response is dropped unseen, whatever it is; the task may look at `waits`."""
    client_socket = RecordingSocket(waits=False)
    respond(client_socket, threading.Lock())
    assert client_socket.waits is False
    with pytest.raises(NoResponse, match="doesn't wait"):
        client_socket.result()


def test_result_waits_for_a_deferred_answer() -> None:
    """Another thread may answer, before or while the test waits."""
    client_socket = RecordingSocket()
    deferred = client_socket.defer()
    go = threading.Event()

    def work() -> None:
        go.wait(60)
        deferred.respond("later")

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(TimeoutError, match="has not come within 0 s"):
        client_socket.result()
    go.set()
    assert client_socket.result(timeout=60) == "later"
    assert client_socket.result() == "later"
    thread.join()


def test_result_raises_what_a_deferred_answer_failed_with() -> None:
    """`fail` ends the call with that exception."""
    client_socket = RecordingSocket()
    client_socket.defer().fail(LookupError("why"))
    with pytest.raises(LookupError, match="why"):
        client_socket.result()


def test_deferred_that_is_dropped_ends_the_call() -> None:
    """Where nobody can answer any more the test doesn't wait for it."""
    client_socket = RecordingSocket()
    client_socket.defer()
    gc.collect()
    with pytest.raises(NoResponse, match="was dropped before it had responded"):
        client_socket.result(timeout=60)


def test_all_that_wait_for_a_deferred_answer_get_it() -> None:
    """Whoever asks first."""
    client_socket = RecordingSocket()
    deferred = client_socket.defer()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client_socket.result, 60) for _ in range(4)]
        deferred.respond(5)
        assert [each.result(60) for each in waiting] == [5] * 4


def test_failure_is_what_a_caller_would_get() -> None:
    """What can't be pickled of it stays behind; what ends programs is told in words."""
    client_socket = RecordingSocket()
    client_socket.defer().fail(LookupError(threading.Lock()))
    with pytest.raises(LookupError, match="lock") as caught:
        client_socket.result()
    assert "argument 1" in caught.value.__notes__[0]
    client_socket = RecordingSocket()
    client_socket.defer().fail(SystemExit(3))
    with pytest.raises(RemoteError, match="SystemExit"):
        client_socket.result()
