"""The tasks of a server under attack: a counter, and what an attack needs done inside."""

from __future__ import annotations

import os
import time
from typing import Any

from bgpy import Client, respond
from bgpy.core.sockets import ClientSocket


def init_task() -> int:
    """Count from 0."""
    return 0


def exec_task(client_socket: ClientSocket, state: int, args: dict[str, Any]) -> int:
    """Do what the key of `args` says and respond; `add` is what honest clients ask for."""
    for name, do in _DEEDS.items():
        if name in args:
            respond(client_socket, do(args[name]))
            return state
    if "fork" in args:
        _fork(client_socket, args["fork"])
        return state
    state += args["add"]
    respond(client_socket, state)
    return state


def exit_task(client_socket: ClientSocket, state: int, args: dict[str, Any]) -> None:
    """Respond with the count."""
    respond(client_socket, state)


def _until_file_exists(files: tuple[str, str]) -> str:
    """Make the first file, return when the second is there."""
    started, go_on = files
    with open(started, "x", encoding="utf-8"):
        pass
    while not os.path.exists(go_on):
        time.sleep(0.005)
    return "waited"


def _leave_descriptors(count: int) -> int:
    """Allow this process about `count` more descriptors than it has."""
    import resource

    lowest_free = os.dup(0)
    os.close(lowest_free)
    # The hard limit too: the server raises the other one as it needs.
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + count, lowest_free + count))
    return lowest_free


def _call_own_server(place: tuple[str, int, str]) -> Any:
    with Client(*place) as client:
        return client.call({"add": 0})


def _raise(size: int) -> None:
    raise ValueError("x" * size)


def _raise_unprintable(_: Any) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise SystemExit("even this must not end the server")

    raise Unprintable


def _fork(client_socket: ClientSocket, how: str) -> None:
    """Fork; the parent responds with the child's exit code, the child does as `how` says."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if how != "stays" else child
        respond(client_socket, code)
    elif how == "raises":
        raise ValueError("in the child")
    elif how == "responds":
        respond(client_socket, "from the child")
    elif how == "stays":
        while True:
            time.sleep(0.01)


_DEEDS = {
    "reply_size": lambda size: b"r" * size,
    "until": _until_file_exists,
    "leave_descriptors": _leave_descriptors,
    "call_own_server": _call_own_server,
    "raise": _raise,
    "raise_unprintable": _raise_unprintable,
    "respond": lambda value: value,
}
