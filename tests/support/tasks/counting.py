"""Tasks for the tests of the API: a counter that also runs whatever function it is sent."""

from __future__ import annotations

from typing import Any

from bgpy import respond
from bgpy.core.sockets import ClientSocket

State = dict[str, Any]


def init_task() -> State:
    """Give the first state: nothing counted."""
    return {"count": 0}


def exec_task(client_socket: ClientSocket, state: State, args: dict[str, Any]) -> State:
    """Count the request and respond with what ``args["run"](state)`` gives, if anyone waits."""
    response = args["run"](state)
    state["count"] += 1
    if args["await_response"]:
        respond(client_socket, response)
    return state


def exit_task(client_socket: ClientSocket, state: State, args: dict[str, Any]) -> None:
    """Run ``args["run"](state)``, if there is one, and respond with the last state."""
    if "run" in args:
        args["run"](state)
    if args["await_response"]:
        respond(client_socket, state)


def count(state: State) -> int:
    """To be run by `exec_task`: how many requests ran before this one."""
    counted: int = state["count"]
    return counted


TASKS = (init_task, exec_task, exit_task)
