"""The handle of a background server: what the program that started it can do with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from bgpy.address import Address
from bgpy.api.hints import OF_HANDLE, no_attribute
from bgpy.config import checked_seconds
from bgpy.errors import CallTimeout, ConnectError, ServerGone
from bgpy.process.launch import Started
from bgpy.state import records
from bgpy.system.deadlines import deadline_in, seconds_left
from bgpy.taken_down import look_out

ENDING = 1.0
"""Seconds to wait for a process that is being taken down already, or is about to exit."""

Terminate = Callable[[float | None], None]
"""Terminates the server as a client does, within that many seconds."""


class Handle:
    """A background server, as `Server.run_background` returns it.

    `host` and `port` are where it listens, `log_file` is the path of its log. The server
    outlives the handle and the process that holds it: `stop` or `kill` it when it is no
    longer needed, or terminate it with a `Client`. A ``with`` block over the handle stops it at its
    end.
    """

    _raise_if_taken_down = staticmethod(look_out())

    def __init__(self, started: Started, *, terminate: Terminate) -> None:
        self.host = started.host
        self.port = started.port
        self.log_file = started.log_file
        self._process = started.process
        self._terminate = terminate

    def __repr__(self) -> str:
        return f"<Handle of the server at {self.address}, pid {self.pid}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, OF_HANDLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The pid of the server's process."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Where the server listens, in one string, as `Client` and the command line take it."""
        return str(Address(self.host, self.port))

    def is_alive(self) -> bool:
        """Tell whether the process exists; `Client.ping` tells whether the server answers.

        False as soon as it runs nothing any more, as after a crash that a client was told of:
        then it is waited for, a second at most, so that its port is free. True also if the
        system doesn't tell, as for a process that ``/proc`` hides.
        """
        self._raise_if_taken_down()
        if self._process.is_gone():
            return False
        if not self._process.is_ending():
            return True
        self._process.wait(ENDING)
        return False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the process has exited, at most `timeout` seconds; tell whether it has."""
        self._raise_if_taken_down()
        return self._process.wait(_seconds(timeout))

    def stop(self, timeout: float | None = None) -> bool:
        """Terminate the server as a client does, and wait until its process has exited.

        Takes at most `timeout` seconds, and one more to learn how far it got. Returns True
        if the process has exited, now or before; False if a task still runs: `wait` longer,
        or `kill`. Raises what `Client.terminate` raises, except `CallTimeout`.
        """
        self._raise_if_taken_down()
        timeout = _seconds(timeout)
        if not self.is_alive():
            return True
        deadline = deadline_in(timeout)
        try:
            self._end(timeout)
        except CallTimeout:
            return not self.is_alive()
        return self.wait(seconds_left(deadline))

    def _end(self, timeout: float | None) -> None:
        """Terminate the server, unless it ends by itself before it has taken that."""
        try:
            self._terminate(timeout)
        except (ConnectError, ServerGone) as error:
            took_it = error.remote or error.progress != "not started"
            if took_it or not self._process.wait(ENDING):
                raise

    def kill(self) -> None:
        """Kill the process, without ``exit_task``; returns when it is gone.

        Raises `BgpyError` if this user may not kill it, or if it can't be told from another.
        """
        self._raise_if_taken_down()
        was_alive = not self._process.is_gone()
        self._process.kill()
        if was_alive:
            whose = f"kill() of its handle, in process {os.getpid()}"
            records.put_away(self._process, "was killed", whose)


def _seconds(timeout: float | None) -> float | None:
    """A time limit; a negative one, already over, counts as 0."""
    over = isinstance(timeout, (int, float)) and timeout < 0
    return checked_seconds(0.0 if over else timeout, "timeout")
