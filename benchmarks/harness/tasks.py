"""The work as the three functions of a bgpy server.

``{"add": n}`` counts; ``{"do": ...}`` takes or gives an array or keeps the server busy.
"""

from __future__ import annotations

import time
from typing import Any

from bgpy import respond


def init_task() -> dict[str, Any]:
    """A count that starts at nothing."""
    return {"value": 0, "array": None}


def exec_task(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Count, or do what ``do`` names."""
    if "add" in args:
        state["value"] += args["add"]
        respond(client_socket, {"value": state["value"]})
    else:
        respond(client_socket, _DO[args["do"]](state, args))
    return state


def exit_task(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> None:
    """Nothing to do."""


def _put(state: dict[str, Any], args: dict[str, Any]) -> float:
    return float(args["array"][-1])


def _get(state: dict[str, Any], args: dict[str, Any]) -> Any:
    if state["array"] is None:
        from benchmarks.peers.counter import make_array  # numpy is no part of starting

        state["array"] = make_array()
    return state["array"]


def _sleep(state: dict[str, Any], args: dict[str, Any]) -> None:
    time.sleep(args["seconds"])


def _compute(state: dict[str, Any], args: dict[str, Any]) -> None:
    end = time.perf_counter() + args["seconds"]
    count = 0
    while time.perf_counter() < end:
        for number in range(100):
            count += number


_DO = {"put": _put, "get": _get, "sleep": _sleep, "compute": _compute}
