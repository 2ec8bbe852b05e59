"""Keeps 0.3.1's import path ``bgpy.example.tasks``: a counter, as three functions.

The state is ``{"request_count": int, "value": int}``. A request is
``{"command": "increase" or "decrease", "value_change": int}``; the end answers
with the last state and ``"status": "Exited."``.
"""

from __future__ import annotations

from typing import Any

from bgpy.tasks.client_socket import ClientSocket, respond

__all__ = ["exec_task", "exit_task", "init_task"]


def init_task() -> dict[str, Any]:
    """Give the first state: no requests yet, and a value of 1000."""
    return {"request_count": 0, "value": 1000}


def exec_task(
    client_socket: ClientSocket, init_args: dict[str, Any], exec_args: dict[str, Any]
) -> dict[str, Any]:
    """Count the request, change the value as it asks, and give the next state."""
    init_args["request_count"] += 1
    if exec_args["command"] == "increase":
        init_args["value"] += exec_args["value_change"]
    if exec_args["command"] == "decrease":
        init_args["value"] -= exec_args["value_change"]
    return init_args


def exit_task(
    client_socket: ClientSocket, init_args: dict[str, Any], exit_args: dict[str, Any]
) -> None:
    """Answer with the last state, this request counted."""
    init_args["request_count"] += 1
    init_args["status"] = "Exited."
    respond(client_socket, init_args)
