"""``python -m benchmarks.harness.startup NAME VARIANT``: time to the first reply.

VARIANT is value, fork, spawn or empty. It prints the seconds from the order to start a server
until its first reply, with the client's library imported before. A peer without a launcher of its
own is started as a program.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks import peers
from benchmarks.harness.pipes import claim_stdout


def init_task() -> dict[str, Any]:
    """For tasks by value: those of a script that the server can't import."""
    return {"value": 0}


def exec_task(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Count and tell the count."""
    from bgpy import respond  # this module serves all peers, also where bgpy is not installed

    state["value"] += args["add"]
    respond(client_socket, {"value": state["value"]})
    return state


def exit_task(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> None:
    """Nothing to do."""


def background(by_value: bool) -> float:
    """bgpy, the tasks by reference or by value."""
    from bgpy import Client, Server, token_create

    if by_value:
        functions = (init_task, exec_task, exit_task)
    else:
        from benchmarks.harness import tasks

        functions = (tasks.init_task, tasks.exec_task, tasks.exit_task)
    token = token_create()
    start = time.perf_counter()
    server = Server("127.0.0.1", 0, token=token)
    handle = server.run_background()
    try:
        client = Client("127.0.0.1", server.port, token)
        client.initialize(*functions)
        client.call({"add": 1})
        return time.perf_counter() - start
    finally:
        handle.kill()


def managers(method: str) -> float:
    """A manager that starts its own process."""
    from multiprocessing.managers import BaseManager

    from benchmarks.peers.counter import Counter

    BaseManager.register("counter", Counter, exposed=("add",))
    context = multiprocessing.get_context(method)
    start = time.perf_counter()
    manager = BaseManager(("127.0.0.1", 0), os.urandom(16), ctx=context)
    manager.start()
    try:
        manager.counter().add({"add": 1})  # type: ignore[attr-defined]
        return time.perf_counter() - start
    finally:
        manager.shutdown()


def program(name: str) -> float:
    """The peer's server as a program."""
    module = peers.load(name)
    command = [sys.executable, "-m", "benchmarks.harness.server", name]
    start = time.perf_counter()
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        connection = module.Connection(json.loads(server.stdout.readline()))
        connection.call({"add": 1})
        seconds = time.perf_counter() - start
        connection.close()
        return seconds
    finally:
        server.stdin.close()
        server.wait()


def main() -> None:
    """Print the seconds, as JSON."""
    tell = claim_stdout()
    name, variant = sys.argv[1:]
    if name == "bgpy":
        seconds = background(variant == "value")
    elif name == "managers":
        seconds = managers(variant)
    else:
        seconds = program(name)
    tell({"seconds": seconds})


if __name__ == "__main__":
    main()
