"""What clients, servers, handles, limits and errors are, and what their methods give."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NotRequired, TypedDict, assert_type

import bgpy
from bgpy.example.tasks import exec_task, exit_task, init_task


def answers(client: bgpy.Client, wait: bool) -> None:
    command = {"command": "increase", "value_change": 1}
    assert_type(client.initialize(init_task, exec_task, exit_task), dict[str, str])
    assert_type(client.execute(command), dict[str, str])
    assert_type(client.execute(command, False, timeout=5), dict[str, str])
    assert_type(client.execute(exec_args=command, await_response=False), dict[str, str])
    if wait:
        assert_type(client.execute(command, True), Any)
        assert_type(client.execute(command, await_response=wait, timeout=None), Any)
        assert_type(client.call(command, timeout=0.5), Any)
    assert_type(client.submit({**command, "more": [1, 2]}), Future[Any])
    assert_type(client.ping(timeout=None), float)
    assert_type(client.address, str)
    assert_type(client.port, int)
    client.close()


class Command(TypedDict):
    command: str
    value_change: NotRequired[int]


def typed(client: bgpy.Client, command: Command) -> None:
    assert_type(client.call(command), Any)
    assert_type(client.submit(command, timeout=1), Future[Any])
    assert_type(client.execute(command), dict[str, str])
    assert_type(client.execute({**command}, True), Any)
    assert_type(client.terminate(command), dict[str, str])


async def asynchronous(client: bgpy.Client) -> None:
    future = client.submit({"command": "decrease", "value_change": 1}, timeout=5.0)
    try:
        await asyncio.wait_for(asyncio.wrap_future(future), 60)
    except bgpy.NoResponse as error:
        assert_type(error.progress, bgpy.errors.Progress | None)
        print("no response:", error.advice is None, error.remote, isinstance(error, OSError))


def ends(client: bgpy.Client, wait: bool) -> str:
    if wait:
        assert_type(client.terminate({"why": "done"}, wait, timeout=60), Any)
        return str(client.terminate(await_response=True))
    assert_type(client.terminate({}, False), dict[str, str])
    assert_type(client.terminate({"why": "done"}), dict[str, str])
    return client.terminate()["message"]


if __name__ == "__main__":
    server = bgpy.Server(
        "127.0.0.1",
        0,
        log_level=logging.DEBUG,
        log_file=Path("server.log"),
        limits=bgpy.Limits(max_requests=100, drain_timeout=1.5),
    )
    handle = server.run_background()
    assert_type(handle.is_alive(), bool)
    assert_type(handle.pid, int)
    with bgpy.Client(server.host, server.port, server.token, "DEBUG", timeout=60.0) as client:
        client.initialize(init_task, exec_task, exit_task)
        print(client.ping() > 0, client.execute({"command": "increase", "value_change": 1}))
        asyncio.run(asynchronous(client))
        print(client.terminate())
    print(handle.wait(timeout=60.0), handle.stop())
