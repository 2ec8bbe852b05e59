"""Truths of errors that a task got from a server of its own: they are the task's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bgpy import BgpyError, CallingSelf, CallTimeout, Client, Handle, NotRunning, ServerGone

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
