"""A server's process as its starter sees it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from bgpy.address import Address
from bgpy.config import checked_seconds
from bgpy.errors import CallTimeout
from bgpy.process.launch import Started
from bgpy.state import records

Terminate = Callable[[float | None], None]
"""Ends the server as a client does, within so many seconds."""


class Handle:
    """A server that was started in a process of its own.

    The server outlives the handle and the process that holds it.
    """

    def __init__(self, started: Started, *, terminate: Terminate) -> None:
        self.host = started.host
        self.port = started.port
        self.log_file = started.log_file
        self._process = started.process
        self._terminate = terminate

    def __repr__(self) -> str:
        return f"<Handle of the server at {self.address}, pid {self.pid}>"

    @property
    def pid(self) -> int:
        """The pid of the server's process."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Where the server listens, in the notation that a `Client` takes alone."""
        return str(Address(self.host, self.port))

    def is_alive(self) -> bool:
        """Tell whether the process exists. It may be busy; `Client.ping` asks the server.

        True also where that can't be seen, as of a process that ``/proc`` hides.
        """
        return not self._process.is_gone()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the process is gone, at most `timeout` seconds; tell whether it is."""
        return self._process.wait(_seconds(timeout))

    def stop(self, timeout: float | None = None) -> bool:
        """Terminate the server as a client does, and wait until its process is gone.

        Takes at most `timeout` seconds, and one more to learn how far it came, and tells
        whether the process is gone; if not, a task still runs: wait longer, or `kill`.
        Raises what terminating raises; nothing to do if the process is gone already.
        """
        timeout = _seconds(timeout)
        if not self.is_alive():
            return True
        deadline = None if timeout is None else monotonic() + timeout
        try:
            self._terminate(timeout)
        except CallTimeout:
            return not self.is_alive()
        return self.wait(None if deadline is None else max(0.0, deadline - monotonic()))

    def kill(self) -> None:
        """End the process at once, without ``exit_task``; returns when it is gone.

        Raises `BgpyError` if this user may not end it, or it can't be told from another.
        """
        self._process.kill()
        records.forget((self.host, self.port))


def _seconds(timeout: float | None) -> float | None:
    """A time limit; one that was over before it was given is 0."""
    over = isinstance(timeout, (int, float)) and timeout < 0
    return checked_seconds(0.0 if over else timeout, "timeout")
