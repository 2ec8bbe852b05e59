"""Which process is meant: pids are used again, so a pid alone names none.

A process is told from any other by its pid *and* its start time, on one boot of one
machine, within one pid namespace.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass

_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # of macOS; not in `socket`

_LONGEST_PAUSE = 0.05
"""Seconds between two looks at a process that nothing else tells of."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, told from any other that has had, or will have, its pid."""

    pid: int
    start_time: str
    """What the function of that name gave for the pid; empty for one that is gone."""

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has that pid now."""
        return cls(pid, start_time(pid) or "")

    def is_alive(self) -> bool:
        """Whether it exists; one that has ended and was not yet waited for doesn't."""
        return bool(self.start_time) and start_time(self.pid) == self.start_time

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is gone, at most `timeout` seconds; whether it is."""
        return not self.start_time or wait_gone(self.pid, self.start_time, timeout)

    def kill(self) -> None:
        """End it at once and wait until it is gone; never another process of that pid."""
        if not self.is_alive():
            return
        try:
            if sys.platform == "win32":
                os.kill(self.pid, signal.SIGTERM)  # ends it there as SIGKILL does elsewhere
            else:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.wait()


def start_time(pid: int) -> str | None:
    """Tell the process from any other of that pid: an opaque text, None if it is gone.

    A process that has ended and was not yet waited for counts as gone.
    """
    if pid <= 0:
        return None
    if sys.platform.startswith("linux"):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The name before it is in parentheses and may hold blanks and parentheses.
                after_name = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # A first thread that has ended while others still do: their sockets are open yet.
        ended = after_name[0] in (b"Z", b"X", b"x") and int(after_name[17]) <= 1
        return None if ended else after_name[19].decode()
    # Inside, since it is dear to import and not needed on Linux.
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None


def boot_id() -> bytes:
    """Give 16 bytes that change with each boot of this machine; zeros where unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def pid_namespace() -> int:
    """Give the number of the namespace that pids of this process mean; 0 where unknown."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


if sys.platform == "win32":

    def peer_uid(sock: socket.socket) -> int:
        """Tell which user's process is at the other end of a Unix socket."""
        raise OSError("this system has no Unix sockets")

else:

    def peer_uid(sock: socket.socket) -> int:
        """Tell which user's process is at the other end of a Unix socket.

        That is the effective user at the time of ``connect`` or ``listen``: unix(7) on
        Linux, unix(4) on macOS.
        """
        if sys.platform == "linux":
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int(struct.unpack("3i", credentials)[1])  # struct ucred: pid, uid, gid
        # struct xucred: version, uid, number of groups, 16 groups
        credentials = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
        return int(struct.unpack_from("2I", credentials)[1])


def wait_gone(pid: int, start_time: str, timeout: float | None = None) -> bool:
    """Wait until the process is gone, at most `timeout` seconds; tell whether it is.

    `start_time` is what the function of that name gave for it. It needn't be a child.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        except OSError:
            # An old kernel or a sandbox without it.
            return _wait_looking(pid, start_time, deadline)
        try:
            return _wait_readable(descriptor, pid, start_time, deadline)
        finally:
            os.close(descriptor)
    return _wait_with_psutil(pid, start_time, timeout)


def _wait_with_psutil(pid: int, expected: str, timeout: float | None) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        if start_time(pid) == expected:
            process.wait(None if timeout is None else max(timeout, 0))
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        return start_time(pid) != expected
    return True


def _wait_looking(pid: int, expected: str, deadline: float | None) -> bool:
    """Look again and again; the pauses grow.

    psutil is of no help where the kernel refuses process descriptors: it asks for one too.
    """
    pause = 0.001
    while start_time(pid) == expected:
        left = _LONGEST_PAUSE if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True


if sys.platform == "linux":

    def _wait_readable(pidfd: int, pid: int, expected: str, deadline: float | None) -> bool:
        import select

        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        # Read after the descriptor was opened: from here on it can't mean another process.
        while start_time(pid) == expected:
            # A day at most: poll takes no more than 2**31 milliseconds.
            left = 86400.0 if deadline is None else min(deadline - time.monotonic(), 86400.0)
            if poller.poll(max(left, 0.0) * 1000):
                return True
            if deadline is not None and left <= 0:
                return False
        return True
