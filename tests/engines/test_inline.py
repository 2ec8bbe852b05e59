"""The engine that runs tasks where it is called."""

from __future__ import annotations

from typing import Any

import pytest

from bgpy.codec import functions, payload
from bgpy.codec.modules import Catalogue
from bgpy.engines.inline import InlineEngine
from bgpy.errors import DecodeError
from bgpy.tasks.client_socket import respond
from bgpy.tasks.lifecycle import DONE, EXEC, EXIT, INIT, Result
from bgpy.tasks.signatures import Functions
from tests.support.outlets import Outlet, through


def init() -> list[Any]:
    return []


def execute(client_socket: Any, state: list[Any], args: dict[str, Any]) -> None:
    state.append(args["add"])
    respond(client_socket, (list(state), args["await_response"]))


def leave(client_socket: Any, state: list[Any], args: dict[str, Any]) -> None:
    respond(client_socket, ("ends", state))


TASKS = Functions(init, execute, leave)


def packed(obj: Any) -> payload.Payload:
    return payload.encode(obj, "args")


def ready() -> InlineEngine:
    """One whose tasks come from an init file."""
    engine = InlineEngine(Catalogue(), lambda: TASKS)
    assert engine.run(INIT, None, through(Outlet())) is DONE
    return engine


def test_engine_is_initialized_by_what_a_client_brings() -> None:
    """Once: a second client's tasks are not even rebuilt."""
    engine = InlineEngine(Catalogue(), None)
    assert not engine.initialized
    tasks = functions.encode_tasks(TASKS, {}, {}, {})
    assert engine.run(INIT, tasks, through(Outlet())) is DONE
    assert engine.initialized
    again = engine.run(INIT, packed("no tasks at all"), through(Outlet()))
    assert again.result is Result.ALREADY_INITIALIZED


def test_each_outcome_is_there_when_run_returns() -> None:
    """The task ran in this thread, with the state of the one before."""
    engine, outlet = ready(), Outlet()
    for number in (1, 2):
        assert engine.run(EXEC, packed({"add": number}), through(outlet)) is DONE
    assert engine.run(EXIT, None, through(outlet, waits=False)) is DONE
    assert outlet.replies == [
        (([1], True), False),
        (([1, 2], True), False),
        (("ends", [1, 2]), False),
    ]


@pytest.mark.parametrize("what", ["no dict", 5, None])
def test_arguments_that_are_no_dict_run_nothing(what: Any) -> None:
    """The outcome says that they could not be read."""
    engine, outlet = ready(), Outlet()
    outcome = engine.run(EXEC, packed(what), through(outlet))
    assert outcome.result is Result.UNREADABLE
    assert isinstance(outcome.error, DecodeError)
    assert outlet.replies == []


def test_failing_init_leaves_the_engine_without_tasks() -> None:
    """Another one may follow."""
    engine = InlineEngine(Catalogue(), lambda: Functions(lambda: 1 / 0, execute, leave))
    outcome = engine.run(INIT, None, through(Outlet()))
    assert outcome.result is Result.RAISED
    assert isinstance(outcome.error, ZeroDivisionError)
    assert not engine.initialized
