"""Truths of calls that are answered later: `client_socket.defer()`, over real processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, EncodeError, Handle, NoResponse, respond
from tests.support.builds import FREE_THREADED

Start = Callable[..., tuple[Handle, Client]]


def _init() -> list[Any]:
    return []


def _exec(client_socket: Any, kept: list[Any], args: dict[str, Any]) -> None:
    if "defer" in args:
        kept.append(client_socket.defer())
        return
    respond(client_socket, len(kept))
    if "again" in args:
        respond(client_socket, "again")
    if "raise" in args:
        raise LookupError(args["raise"])


def _exit(client_socket: Any, kept: list[Any], args: dict[str, Any]) -> None:
    if kept:
        kept[0].respond("at the last moment")


def _log(handle: Handle) -> str:
    assert handle.log_file is not None
    return Path(handle.log_file).read_text("utf-8")


def _deferred(client: Client, count: int) -> list[Future[Any]]:
    """Calls whose tasks have returned."""
    futures = [client.submit({"defer": True}) for _ in range(count)]
    assert client.call({}) == count
    return futures


@pytest.mark.parametrize("end", ["terminate", "stop"])
def test_calls_open_at_the_end_are_told_that_they_ran(start: Start, end: str) -> None:
    """`exit_task` may answer; the rest is not left to guess whether it ran."""
    handle, client = start()
    client.initialize(_init, _exec, _exit)
    answered, *left = _deferred(client, 3)
    if end == "terminate":
        with Client(handle.host, handle.port) as other:
            other.terminate()
    else:
        assert handle.stop(timeout=30)
    assert answered.result(30) == "at the last moment"
    for future in left:
        with pytest.raises(NoResponse, match="the server ended before it was given"):
            future.result(30)
    assert handle.wait(30)
    assert "2 calls ended with NoResponse" in _log(handle)


@pytest.mark.parametrize("args", [{"again": 1}, {"raise": "why"}])
def test_failure_after_the_response_is_logged_as_one(start: Start, args: dict[str, Any]) -> None:
    """The caller has its response, and the log doesn't say otherwise."""
    handle, client = start()
    client.initialize(_init, _exec, _exit)
    assert client.call(args) == 0
    client.terminate()
    assert handle.wait(30)
    log = _log(handle)
    assert "exec_task failed after it had responded; the caller has its response" in log
    assert ("has already been answered" if "again" in args else "LookupError: why") in log


def _exec_answering(client_socket: Any, kept: list[Any], args: dict[str, Any]) -> None:
    """Return, or raise, while another thread's response is being pickled, which then fails."""
    begun, allowed = threading.Event(), threading.Event()

    class Stubborn:
        def __reduce__(self) -> Any:
            begun.set()
            allowed.wait(30)
            raise TypeError("not a value")

    def answer() -> None:
        try:
            kept[-1].respond(Stubborn())
        except EncodeError:
            if "raise" in args:
                kept.clear()
            else:
                kept.append("refused")

    def allow() -> None:
        while client_socket.call.outcome is None:  # the end of this task has been noted
            time.sleep(0.001)
        allowed.set()

    kept.append(client_socket.defer())
    for target in (answer, allow):
        threading.Thread(target=target, daemon=True).start()
    begun.wait(30)
    if "raise" in args:
        raise LookupError(args["raise"])


def _exit_when_refused(client_socket: Any, kept: list[Any], args: dict[str, Any]) -> None:
    end = time.monotonic() + 30
    while "refused" not in kept and time.monotonic() < end:
        time.sleep(0.001)


def test_call_is_known_to_have_run_when_its_deferred_response_cannot_travel(start: Start) -> None:
    """Also where its task returned while that response was being sent: at the end it is told."""
    handle, client = start()
    client.initialize(_init, _exec_answering, _exit_when_refused)
    left = client.submit({})
    assert handle.stop(timeout=60)
    with pytest.raises(NoResponse, match="the server ended before it was given"):
        left.result(30)


def test_call_has_its_tasks_exception_when_its_deferred_response_cannot_travel(
    start: Start,
) -> None:
    """It raised while that response was being sent, and nobody can answer any more."""
    _, client = start()
    client.initialize(_init, _exec_answering, lambda client_socket, state, args: None)
    left = client.submit({"raise": "why"}, timeout=60)
    while FREE_THREADED and not left.done():
        # What one thread made and another drops is gone when the first runs again.
        client.ping()
    with pytest.raises(LookupError, match="why"):
        left.result(60)
