"""A server's process as seen from outside: it is held by pid and start time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from time import monotonic

from bgpy import records
from bgpy.address import Address
from bgpy.errors import CallTimeout


class Handle:
    """A server that was started in a process of its own.

    It goes on when the handle, or the process that holds it, is gone.
    """

    def __init__(
        self,
        pid: int,
        host: str,
        port: int,
        log_file: str | None,
        *,
        start_time: str,
        terminate: Callable[[float | None], None],
    ) -> None:
        self.pid = pid
        self.host = host
        self.port = port
        self.log_file = log_file
        self._start_time = start_time
        self._terminate = terminate

    def __repr__(self) -> str:
        return f"<Handle of the server at {self.address}, pid {self.pid}>"

    @property
    def address(self) -> str:
        """Where the server listens, as it may be given to a `Client` alone."""
        return str(Address(self.host, self.port))

    def is_alive(self) -> bool:
        """Tell whether the process exists. It may be busy; `Client.ping` asks the server."""
        return records.start_time(self.pid) == self._start_time

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the process is gone, at most `timeout` seconds; tell whether it is."""
        return records.wait_gone(self.pid, self._start_time, timeout)

    def stop(self, timeout: float | None = None) -> bool:
        """Terminate the server as a client does, and wait until its process is gone.

        Takes at most `timeout` seconds, and one more to learn how far it came, and tells
        whether the process is gone; if not, a task still runs: wait longer, or `kill`.
        Raises what terminating raises; nothing to do if the process is gone already.
        """
        if not self.is_alive():
            return True
        deadline = None if timeout is None else monotonic() + timeout
        try:
            self._terminate(timeout)
        except CallTimeout:
            return not self.is_alive()
        return self.wait(None if deadline is None else max(0.0, deadline - monotonic()))

    def kill(self) -> None:
        """End the process at once, without ``exit_task``; returns when it is gone."""
        end_process(self.pid, self._start_time)
        records.forget((self.host, self.port))


def end_process(pid: int, start_time: str) -> None:
    """End the process at once and wait until it is gone; nothing else of that pid."""
    if records.start_time(pid) != start_time:
        return
    try:
        if sys.platform == "win32":
            # Ends a process there as SIGKILL does elsewhere.
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    records.wait_gone(pid, start_time)
