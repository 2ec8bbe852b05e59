"""A real server for one test, which ends whatever becomes of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

from bgpy.api.client import Client
from bgpy.api.handles import Handle
from bgpy.api.server import Server
from bgpy.config import checked_seconds
from bgpy.errors import CallTimeout
from bgpy.system.processes import ProcessId, environment
from bgpy.tasks.protocols import ExecTask, ExitTask, InitTask

S = TypeVar("S")

REAPER = "bgpy.testing.reaper"


class Served(NamedTuple):
    """A server that runs for a test."""

    client: Client
    """A client of it."""
    handle: Handle
    """Its process: ``handle.log_file``, ``handle.kill()`` and so on."""


StartServer: TypeAlias = Callable[..., Served]
"""What the fixture `bgpy_server` gives: a function with the parameters of `running_server`."""


@contextmanager
def running_server(
    init_task: InitTask[S] | None = None,
    exec_task: ExecTask[S] | None = None,
    exit_task: ExitTask[S] | None = None,
    *,
    timeout: float = 30.0,
    **options: Any,
) -> Iterator[Served]:
    """Run a server in the background for the length of a ``with``.

    ::

        with bgpy.testing.running_server(init_task, exec_task, exit_task) as (client, handle):
            assert client.call({"add": 5}) == {"value": 5}

    Without the three functions the server has no tasks yet, or those of an ``init_file=``.
    `options` are those of `Server`. A call of the client may take `timeout` seconds, and so
    may the end, which runs `exit_task`. A server that still runs then is killed, and
    `TimeoutError` is raised; what `exit_task` raises is raised here, unless the block itself
    has failed. If the process of the test dies, however that happens, the server is killed too.
    """
    checked_seconds(timeout, "timeout")
    tasks = (init_task, exec_task, exit_task)
    made = Server(**options)
    handle = made.run_background()
    try:
        with (
            _reaped(handle.pid),
            made._client(handle.host, handle.port, timeout) as client,
        ):
            try:
                if tasks != (None, None, None):
                    client.initialize(*tasks)  # type: ignore[arg-type]
                yield Served(client, handle)
            except BaseException:
                with suppress(Exception):
                    handle.stop(timeout)
                raise
            _end(handle, timeout)
    finally:
        handle.kill()


def _end(handle: Handle, timeout: float) -> None:
    """End the server; raises `TimeoutError` with what keeps it if that takes too long."""
    late = f"the server did not end within {timeout:g} s, and is killed"
    if not handle.is_alive():
        return
    try:
        handle._end(timeout)
    except CallTimeout as error:
        if handle.is_alive():
            raise TimeoutError(f"{late}: {error.problem}") from None
    if not handle.wait(timeout):
        raise TimeoutError(f"{late}: its tasks have run, but its process has not exited")


@contextmanager
def _reaped(pid: int) -> Iterator[None]:
    """Have the server killed if this process ends within the block, for whatever reason."""
    server, test = ProcessId.of(pid), ProcessId.of(os.getpid())
    options: dict[str, Any] = {}
    # What ends the group of the test, such as Ctrl-C, must leave it.
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    processes = [str(server.pid), server.start_time or "", str(test.pid), test.start_time or ""]
    reaper = subprocess.Popen(
        [sys.executable, "-m", REAPER, *processes],
        stdin=subprocess.DEVNULL,
        # This process may have found bgpy on a path that is its own.
        env={**environment(), "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        **options,
    )
    try:
        yield
    finally:
        reaper.kill()
        reaper.wait()
