"""The ways to write the three functions: each is one that a server takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict

from bgpy import Client, ClientSocket, Deferred, ExecTask, ExitTask, InitTask, Server, respond


@dataclass
class State:
    values: list[int] = field(default_factory=list)
    kept: list[Deferred] = field(default_factory=list)


class Request(TypedDict):
    value: int


def make(start: int) -> State:
    return State([start])


def add(client_socket: ClientSocket, state: State, args: Request) -> State:
    state.values.append(args["value"])
    respond(client_socket, sum(state.values))
    return state


def look(client_socket: ClientSocket, state: State, args: Mapping[str, Any]) -> None:
    respond(client_socket, len(state.values))


def later(client_socket: ClientSocket, state: State, args: dict[str, Any]) -> State | None:
    deferred = client_socket.defer()
    if args.get("fail"):
        deferred.fail(ValueError("as asked"))
        return None
    respond(deferred, state.values[-1])
    return state


def leave(client_socket: ClientSocket, state: State, args: dict[str, Any]) -> None:
    respond(client_socket, state.values, error=False)


class Adding:
    """Tasks as methods, and an instance that is called."""

    def init(self, client_socket: ClientSocket) -> State:
        return State([1])

    def __call__(self, client_socket: ClientSocket, state: State, args: dict[str, int]) -> State:
        return add(client_socket, state, {"value": args["value"]})


def nothing() -> None: ...


def anything(client_socket: Any, state: Any, args: Any) -> Any:
    respond(client_socket, args)


def unannotated(client_socket, state, args):  # type: ignore[no-untyped-def]
    respond(client_socket, 1)


def run(
    init_task: InitTask[State], exec_task: ExecTask[State], exit_task: ExitTask[State], value: int
) -> Any:
    """What a user's own function over tasks looks like."""
    server = Server()
    server.run_background()
    with Client(server.address, token=server.token, timeout=60) as client:
        client.initialize(init_task, exec_task, exit_task)
        answer = client.call({"value": value})
        client.terminate()
    return answer


if __name__ == "__main__":
    init: InitTask[State] = partial(make, 4)
    shared: ExitTask[object] = lambda client_socket, state, args: None  # noqa: E731
    tasks: list[ExecTask[State]] = [add, look, later, Adding(), anything]
    made: Callable[[], State] = partial(make, 4)
    print([run(init, task, leave, 3) for task in tasks[:4]])
    print(run(Adding().init, add, shared, 3), run(made, unannotated, shared, 3))
    server = Server()
    handle = server.run_background()
    client = Client(server.address)
    client.initialize(nothing, anything, lambda client_socket, state, args: None)
    print(client.call({"value": 1})["value"])
    print(handle.stop(60))
