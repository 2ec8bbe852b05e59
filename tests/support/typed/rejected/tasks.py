"""Functions that a server can't call as tasks, or whose states don't fit together."""

from __future__ import annotations

from typing import Any

from bgpy import Client, ClientSocket, ExecTask, ExitTask, InitTask


def init_task() -> dict[str, int]:
    return {"value": 0}


def exec_task(
    client_socket: ClientSocket, state: dict[str, int], args: dict[str, Any]
) -> dict[str, int]:
    return state


def exit_task(client_socket: ClientSocket, state: dict[str, int], args: dict[str, Any]) -> None:
    client_socket.respond()  # E: call-arg
    client_socket.respond(1, is_error=True)  # E: call-arg
    client_socket.defer(1)  # E: call-arg
    client_socket.defer().fail("text")  # E: arg-type
    client_socket.defer().respond(1, True, 2)  # E: call-arg


def two(client_socket: ClientSocket, state: dict[str, int]) -> None: ...


def four(client_socket: ClientSocket, state: dict[str, int], args: Any, more: int) -> None: ...


def named(*, client_socket: ClientSocket, state: dict[str, int], args: Any) -> None: ...


def takes_two(client_socket: ClientSocket, path: str) -> dict[str, int]:
    return {}


def of_lists(client_socket: ClientSocket, state: list[int], args: Any) -> list[int]:
    return state


def gives_text(client_socket: ClientSocket, state: dict[str, int], args: Any) -> str:
    return ""


async def later(client_socket: ClientSocket, state: dict[str, int], args: Any) -> dict[str, int]:
    return state


def swapped(state: dict[str, int], client_socket: ClientSocket, args: Any) -> None: ...


client = Client("127.0.0.1", 54321)
client.initialize(takes_two, exec_task, exit_task)  # E: arg-type
client.initialize(init_task, two, exit_task)  # E: arg-type
client.initialize(init_task, four, exit_task)  # E: arg-type
client.initialize(init_task, named, exit_task)  # E: arg-type
client.initialize(init_task, exec_task, two)  # E: arg-type
client.initialize(init_task, exec_task, swapped)  # E: arg-type
client.initialize(init_task, of_lists, exit_task)  # E: misc
client.initialize(init_task, gives_text, exit_task)  # E: misc
client.initialize(init_task, later, exit_task)  # E: misc
client.initialize(init_task(), exec_task, exit_task)  # E: arg-type
client.initialize("tasks.py", exec_task, exit_task)  # E: arg-type
client.initialize(init_task, exec_task, None)  # E: arg-type

first: InitTask[list[int]] = init_task  # E: assignment
each: ExecTask[dict[str, int]] = two  # E: assignment
last: ExitTask[list[int]] = exit_task  # E: assignment
