"""Truths of errors that a task got from a server of its own: they are the task's."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from bgpy import (
    BgpyError,
    CallingSelf,
    CallTimeout,
    Client,
    Handle,
    NotRunning,
    RemoteError,
    ServerGone,
    respond,
)

Start = Callable[..., tuple[Handle, Client]]


def _no_state() -> None: ...


def _nothing(client_socket: Any, state: Any, args: Any) -> None: ...


def _raise(client_socket: Any, state: Any, args: Any) -> None:
    raise args["raise"]


@pytest.mark.parametrize(
    "error",
    [
        ServerGone("of the inner server", progress="not started"),
        ServerGone("of the inner server", progress="unknown"),
        CallTimeout("of the inner call", progress="not started"),
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


class QueryError(Exception):
    """One that its own attributes lead back to."""

    first: Any = None


def _fail(client_socket: Any, state: Any, args: Any) -> None:
    what = args["fail"]
    if what == "import":
        import no_such_module_there  # noqa: F401
    if what == "group":
        raise BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError(2)])
    error = QueryError("failed")
    error.first = error
    if what == "chain":
        batch = bytes(3_000_000)
        for _ in range(90):
            cause, error = error, QueryError("failed")
            error.first, error.__cause__ = batch, cause
    raise error


def test_exceptions_arrive_as_they_were_raised(start: Start) -> None:
    """With the fields of Python's own, their circles and what they share; a group of what ends
    programs is one of exceptions here, and the server goes on."""
    _, client = start()
    client.initialize(lambda: None, _fail, _nothing)
    with pytest.raises(ModuleNotFoundError) as missing:
        client.call({"fail": "import"})
    assert missing.value.name == "no_such_module_there"
    with pytest.raises(QueryError) as circle:
        client.call({"fail": "circle"})
    assert circle.value.first is circle.value
    with pytest.raises(QueryError) as chain:
        client.call({"fail": "chain"}, timeout=60)
    assert isinstance(chain.value.__cause__, QueryError)
    assert chain.value.__cause__.first == chain.value.first
    with pytest.raises(ExceptionGroup) as group:
        client.submit({"fail": "group"}).result(20)
    interrupt, error = group.value.exceptions
    assert isinstance(interrupt, RemoteError)
    assert interrupt.type_name == "KeyboardInterrupt"
    assert repr(error) == "ValueError(2)"
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


class _FailingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


def _log_badly_or_raise(client_socket: Any, state: Any, args: dict[str, Any]) -> None:
    if args["do"] == "raise":
        raise ValueError("wrong")
    if args["do"] == "log":
        logging.getLogger("bgpy").addHandler(_FailingHandler())
    respond(client_socket, "done")


def test_server_serves_on_when_a_handler_of_its_log_fails(start: Start) -> None:
    """A failure that nobody waits for is logged in the midst of ending its call."""
    handle, client = start()
    client.initialize(_no_state, _log_badly_or_raise, _nothing)
    client.call({"do": "log"})
    client.execute({"do": "raise"})
    with pytest.raises(ValueError, match="wrong"):
        client.call({"do": "raise"}, timeout=20.0)
    assert client.call({"do": "nothing"}, timeout=20.0) == "done"
    assert handle.stop(20.0)


_kept: list[weakref.ref[Any]] = []


class _Large:
    """Something that a task holds when it fails."""


def _hold_and_raise(client_socket: Any, state: Any, args: dict[str, Any]) -> None:
    if "count" in args:
        respond(client_socket, sum(each() is not None for each in _kept))
        return
    gc.disable()  # so that what is gone went by itself
    held = _Large()
    _kept.append(weakref.ref(held))
    raise ValueError(held is None)


def test_failed_call_keeps_nothing_of_its_task(start: Start) -> None:
    """No collection is waited for: a task may hold gigabytes when it fails."""
    _, client = start()
    client.initialize(_no_state, _hold_and_raise, _nothing)
    for _ in range(3):
        with pytest.raises(ValueError, match="False"):
            client.call({})
        client.execute({})
    assert client.call({"count": True}) == 0
