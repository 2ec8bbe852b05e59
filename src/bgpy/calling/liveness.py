"""Whether the server's process is gone, where client and server share a machine.

What can't be seen from here, or not now, is not claimed: a process of another account
under ``hidepid``, a look that fails for want of descriptors or rights.
"""

from __future__ import annotations

import os

from bgpy.system import processes
from bgpy.wire.handshake import Welcome


class ServerProcess:
    """The process behind a connection, as its welcome named it.

    Make it while that process is known to live, just after the handshake: what can't be
    seen of it then can't be missed later.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._start_time = _start_time(pid)

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
        """Whether it is known to have ended, for whatever reason."""
        if not self._start_time:
            return False
        found = _start_time(self.pid)
        return found is not None and found != self._start_time

    def wait_gone(self, timeout: float) -> bool | None:
        """Wait up to `timeout` seconds for its end; whether it has ended, None if unknown."""
        if not self._start_time:
            return None
        try:
            return processes.wait_gone(self.pid, self._start_time, timeout)
        except Exception:  # psutil's own, or the system's: it can't be seen
            return None


def _start_time(pid: int) -> str | None:
    """The start time of the process, empty if there is none, None if that can't be seen."""
    try:
        return processes.start_time(pid) or ""
    except Exception:  # psutil's own, or the system's: out of descriptors, no right to look
        return None
