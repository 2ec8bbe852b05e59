"""bgpy 0.3.1, in an environment of its own; by its documented interface."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

import psutil

from benchmarks import peers
from benchmarks.harness.pipes import Tell, wait_for_stdin
from bgpy.client import Client
from bgpy.core.token import token_create
from bgpy.server import Server, respond


def init_task() -> dict[str, Any]:
    """A count that starts at nothing."""
    return {"value": 0}


def exec_task(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Count and tell the count."""
    state["value"] += args["add"]
    respond(client_socket, {"value": state["value"]})
    return state


def exit_task(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> None:
    """Nothing to do."""


def serve(tell: Tell) -> None:
    """Start it, find its process by the port, and kill that in the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = token_create()
    # It starts the command `bgpy`, which has to be that of its environment and to find the tasks.
    os.environ["PYTHONPATH"] = os.getcwd()
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    Server(host="127.0.0.1", port=port, token=token).run_background()
    pid = _listening(port)
    try:
        client = Client(host="127.0.0.1", port=port, token=token)
        client.initialize(init_task, exec_task, exit_task)
        tell({"pid": pid, "address": ["127.0.0.1", port], "token": token})
        wait_for_stdin()
    finally:
        server = psutil.Process(pid)
        server.kill()
        server.wait()


def _listening(port: int) -> int:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        for process in psutil.process_iter():
            if process.pid != os.getpid() and _listens(process, port):
                return process.pid
        time.sleep(0.1)
    raise TimeoutError("the server of bgpy 0.3.1 did not come up")


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in found)


class Connection(peers.Connection):
    """A client."""

    def __init__(self, target: dict[str, Any]) -> None:
        host, port = target["address"]
        self._client: Any = Client(host=host, port=port, token=target["token"])

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """``execute``, waiting for the response."""
        answer: dict[str, int] = self._client.execute(args, await_response=True)
        return answer
