"""Is the process of a server gone? Told only where client and server share a machine."""

from __future__ import annotations

import os

from bgpy.system import processes
from bgpy.wire.handshake import Welcome


class ServerProcess:
    """The process behind a connection, as its welcome named it.

    Its start time is read at the first question, so that a process which gets the
    same pid later is not taken for it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._start_time = processes.start_time(pid)

    @classmethod
    def of(cls, welcome: Welcome) -> ServerProcess | None:
        """The server's process, if it is provably on this machine and not this one."""
        here = (processes.boot_id(), processes.pid_namespace())
        if welcome.pid in (0, os.getpid()) or not any(here[0]):
            return None
        if here != (welcome.boot_id, welcome.pid_namespace):
            return None
        return cls(welcome.pid)

    def is_gone(self) -> bool:
        """Whether it has ended, for whatever reason."""
        if self._start_time is None:
            return True
        return processes.start_time(self.pid) != self._start_time

    def wait_gone(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end; whether it has ended."""
        if self._start_time is None:
            return True
        return processes.wait_gone(self.pid, self._start_time, timeout)


class ServerWatch:
    """Tells whether the server of a connection is gone; finds its process when first asked."""

    def __init__(self, welcome: Welcome) -> None:
        self._welcome = welcome
        self._process: ServerProcess | None = None

    def is_gone(self) -> bool:
        """Whether its process has ended; False where that can't be seen from here."""
        if self._process is None:
            self._process = ServerProcess.of(self._welcome)
        return self._process is not None and self._process.is_gone()
