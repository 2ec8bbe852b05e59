"""bgpy as it is used: a background server, three functions, a client with the token."""

from __future__ import annotations

from typing import Any

from benchmarks import peers
from benchmarks.harness import tasks
from benchmarks.harness.pipes import Tell, wait_for_stdin
from bgpy import Client, Server, token_create


def serve(tell: Tell, unix: bool = False, tls: bool | None = None) -> None:
    """Start it, and kill it in the end."""
    place = () if unix else ("127.0.0.1", 0)
    server = Server(*place, token=token_create(), tls=tls)
    handle = server.run_background()
    try:
        target = {"pid": handle.pid, "address": handle.address, "token": server.token, "tls": tls}
        with connect(target) as client:
            client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
        tell(target)
        wait_for_stdin()
    finally:
        handle.kill()


def connect(target: dict[str, Any]) -> Client:
    """A client of the server; it connects at its first call."""
    return Client(target["address"], token=target["token"], tls=target["tls"])


class Connection(peers.Connection):
    """A client."""

    def __init__(self, target: dict[str, Any]) -> None:
        self._client: Any = connect(target)

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """``client.call``."""
        answer: dict[str, int] = self._client.call(args)
        return answer

    def pipeline(self, count: int) -> None:
        """``client.submit``."""
        if not hasattr(self._client, "submit"):
            raise peers.Unsupported("this bgpy has no Client.submit")
        for future in [self._client.submit({"add": 1}) for _ in range(count)]:
            future.result(30.0)

    def put(self, array: Any) -> float:
        """The array among the arguments."""
        last: float = self._client.call({"do": "put", "array": array})
        return last

    def get(self) -> Any:
        """The array as the response."""
        return self._client.call({"do": "get"})

    def close(self) -> None:
        """``client.close``."""
        self._client.close()
