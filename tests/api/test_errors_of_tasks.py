"""Truths of errors that a task got from a server of its own: they are the task's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bgpy import (
    BgpyError,
    CallingSelf,
    CallTimeout,
    Client,
    Handle,
    NotRunning,
    ServerGone,
    respond,
)

Start = Callable[..., tuple[Handle, Client]]


def _nothing(client_socket: Any, state: Any, args: Any) -> None: ...


def _raise(client_socket: Any, state: Any, args: Any) -> None:
    raise args["raise"]


@pytest.mark.parametrize(
    "error",
    [
        ServerGone.at("not started", "of the inner server"),
        ServerGone.at("unknown", "of the inner server"),
        CallTimeout.at("not started", "of the inner call"),
        NotRunning("of the inner server"),
    ],
)
def test_error_of_an_inner_client_is_the_tasks_own(start: Start, error: BgpyError) -> None:
    """Marked as remote, with the progress of the inner call; the connection goes on."""
    _, client = start()
    client.initialize(lambda: None, _raise, _nothing)
    with pytest.raises(type(error), match="inner") as caught:
        client.call({"raise": error})
    assert caught.value.remote
    assert getattr(caught.value, "progress", None) == getattr(error, "progress", None)
    assert client.ping() > 0


def _relay(client_socket: Any, state: Any, args: Any) -> None:
    from bgpy import Client, respond

    host, port, token = args["way"].pop(0)
    with Client(host, port, token) as inner:
        respond(client_socket, inner.call(args, timeout=20))


def test_call_that_comes_back_to_a_waiting_server_raises_calling_self(start: Start) -> None:
    """A calls B calls A: the third says so at once, and both go on."""
    servers = [start(token="t" * 40) for _ in range(2)]
    for _, client in servers:
        client.initialize(lambda: None, _relay, _nothing)
    places = [(handle.host, handle.port, "t" * 40) for handle, _ in servers]
    with pytest.raises(CallingSelf):
        servers[0][1].call({"way": [places[1], places[0], places[1]]}, timeout=60)
    for handle, client in servers:
        assert client.ping() > 0
        assert handle.is_alive()


class Large:
    """What a task has at hand."""


def _keeps(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> None:
    import gc
    import weakref

    if args["do"] == "fail":
        gc.disable()
        large = Large()
        state["large"] = weakref.ref(large)
        raise ValueError("it failed")
    if args["do"] == "fail early":
        large = Large()
        state["large"] = weakref.ref(large)
        respond(client_socket, None)
        raise ValueError("it failed after it had responded")
    respond(client_socket, state["large"]() is None)


def _state() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("how", ["fail", "fail early"])
def test_a_failed_task_leaves_nothing_to_the_collector(start: Start, how: str) -> None:
    """What it had at hand, and its arguments, go when its failure has been told."""
    _, client = start()
    client.initialize(_state, _keeps, lambda client_socket, state, args: None)
    for do in ("fail", how):
        with suppress(ValueError):
            client.call({"do": do}, timeout=30)
    assert client.call({"do": "look"}, timeout=30) is True


def test_a_raising_handler_on_the_servers_logger_blocks_nothing(
    start: Start,
) -> None:
    """A task has put it there; a later one fails, and nobody waits to be told."""

    def execute(client_socket: Any, state: None, args: dict[str, Any]) -> None:
        import logging

        class Raising(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise OSError("its disk is full")

        if args["do"] == "hook":
            logging.getLogger("bgpy").addHandler(Raising())
        if args["do"] == "fail":
            raise ValueError("it failed")
        respond(client_socket, args["do"])

    _, client = start()
    client.initialize(_state, execute, lambda client_socket, state, args: None)
    assert client.call({"do": "hook"}, timeout=30) == "hook"
    client.execute({"do": "fail"})
    assert client.call({"do": "go on"}, timeout=30) == "go on"
    client.terminate()
