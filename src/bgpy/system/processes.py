"""Identifies processes: the system reuses pids, so a pid alone is not enough.

A pid *and* a start time identify a process, on one boot of one machine, within one pid
namespace.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from io import FileIO
from types import ModuleType

from bgpy.errors import BgpyError
from bgpy.late import once

_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # of macOS; not in `socket`

_LONGEST_PAUSE = 0.05
"""Seconds between two looks at a process that nothing else tells of."""

_ENDING = 5.0
"""Seconds for a process of Windows that refuses to be ended since it is ending."""

_PF_EXITING = 4
"""Of Linux: the flag of a thread that the kernel is taking down (``/proc/PID/stat``)."""

_boot_id = b""
"""What `boot_id` gave, once it was known."""


class Unseen(Exception):
    """Whether a process exists, or which one it is, can't be seen from here, or not now."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, told from any other that has had, or will have, its pid.

    What can't be seen is not claimed: a process is known to be alive, known to be gone, or
    neither, where ``/proc`` hides it or this process has no descriptor left to look with.
    """

    pid: int
    start_time: str | None
    """What the function of that name gave for the pid; empty where it couldn't be seen."""

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has that pid now."""
        try:
            return cls(pid, start_time(pid))
        except Unseen:
            return cls(pid, "")

    def alive(self) -> bool | None:
        """Whether it exists: True or False where that is known, None where it isn't.

        One that has ended and was not yet waited for is gone.
        """
        if self.start_time is None:
            return False
        try:
            now = start_time(self.pid)
        except Unseen:
            return None
        if now is None:
            return False
        return now == self.start_time if self.start_time else None

    def is_gone(self) -> bool:
        """Whether it is known to be gone."""
        return self.alive() is False

    def is_ending(self) -> bool:
        """Whether the system is taking it down: it runs nothing any more, and is gone soon.

        Its port may be open for that moment. Seen on Linux only; elsewhere it is alive until
        it is gone.
        """
        return sys.platform == "linux" and self.alive() is True and _is_taken_down(self.pid)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is known to be gone, at most `timeout` seconds; whether it is."""
        if self.is_gone():
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        if sys.platform == "linux":
            try:
                descriptor = os.pidfd_open(self.pid)
            except ProcessLookupError:
                return True
            except OSError:
                # An old kernel, a sandbox without it, or no descriptor left.
                return _wait_looking(self, deadline)
            try:
                return _wait_readable(self, descriptor, deadline)
            finally:
                os.close(descriptor)
        return _wait_with_psutil(self, deadline)

    def kill(self) -> None:
        """End it at once and wait until it is gone; never another process of that pid.

        Raises `BgpyError` if it may not be ended, or can't be told from another process.
        """
        alive = self.alive()
        if alive is False:
            return
        if alive is None:
            raise BgpyError(
                f"bgpy can't see whether process {self.pid} is still the same process",
                advice="if you are sure, kill it by its pid",
                pid=self.pid,
            )
        try:
            if sys.platform == "win32":
                os.kill(self.pid, signal.SIGTERM)  # ends it there as SIGKILL does elsewhere
            else:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        except OSError as error:
            # On Windows one that is just ending refuses, or isn't found.
            if sys.platform == "win32" and self.wait(_ENDING):
                return
            raise BgpyError(
                f"process {self.pid} can't be killed ({error.strerror})",
                advice="kill it as the user that it belongs to",
                pid=self.pid,
            ) from error
        self.wait()


@once
def _psutil() -> ModuleType:
    """`psutil`: 15 ms that Linux doesn't need."""
    import psutil

    return psutil


def start_time(pid: int) -> str | None:
    """Tell the process from any other of that pid: an opaque text, None if it is gone.

    A process that has ended and was not yet waited for counts as gone. Raises `Unseen` where
    there is, or may be, such a process, and no more can be learned of it: ``/proc`` is
    missing or hides it, or this process has no descriptor left.
    """
    if pid <= 0:
        return None
    if sys.platform.startswith("linux"):
        try:
            after_name = _stat(f"/proc/{pid}/stat")
        except OSError as error:
            # Of whatever kind: a hidden process is "not found" there as well.
            if _exists(pid):
                raise Unseen(pid) from error
            return None
        # A first thread that has ended while others still do: their sockets are open yet.
        ended = after_name[0] in (b"Z", b"X", b"x") and int(after_name[17]) <= 1
        return None if ended else after_name[19].decode()
    psutil = _psutil()
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except (psutil.Error, OSError) as error:
        raise Unseen(pid) from error


def _stat(path: str) -> list[bytes]:
    """The fields of a ``stat`` of Linux from the third on, the state."""
    # Not by `open`, which is not there any more when a ``__del__`` calls at the end.
    with FileIO(path) as file:
        # The name before it is in parentheses and may hold blanks and parentheses.
        return file.read().rpartition(b")")[2].split()


def _is_taken_down(pid: int) -> bool:
    """Whether the kernel is taking down every thread of a process of Linux.

    The first thread alone may have ended while others still run.
    """
    try:
        if not int(_stat(f"/proc/{pid}/stat")[6]) & _PF_EXITING:
            return False
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    for thread in threads:
        try:
            if not int(_stat(f"/proc/{pid}/task/{thread}/stat")[6]) & _PF_EXITING:
                return False
        except OSError:
            continue  # it has ended meanwhile
    return True


def _exists(pid: int) -> bool:
    """Whether any process has that pid, ended ones that nobody waited for included.

    The kernel tells this of every process, whatever ``/proc`` shows, and needs no descriptor.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it may not be signalled: it is another user's
    return True


def environment() -> dict[str, str]:
    """A copy of this process's environment, for another one.

    Whatever other threads do meanwhile: where one takes a variable away, ``os.environ.copy`` and
    its like may raise `KeyError`.
    """
    names = list(os.environ)
    return {name: value for name in names if (value := os.environ.get(name)) is not None}


def boot_id() -> bytes:
    """Give 16 bytes that change with each boot of this machine; zeros where unknown."""
    global _boot_id
    if not _boot_id:
        try:
            # As bytes: an encoding that was not used yet is imported.
            with FileIO("/proc/sys/kernel/random/boot_id") as file:
                _boot_id = bytes.fromhex(file.read().decode().strip().replace("-", ""))
        except (OSError, ValueError):
            return bytes(16)
    return _boot_id


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


def _wait_with_psutil(process: ProcessId, deadline: float | None) -> bool:
    psutil = _psutil()
    try:
        there = psutil.Process(process.pid)
        if not process.is_gone():
            there.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.is_gone()
    except (psutil.Error, OSError):
        return _wait_looking(process, deadline)
    return True


def _wait_looking(process: ProcessId, deadline: float | None) -> bool:
    """Look again and again; the pauses grow.

    psutil is of no help where the kernel refuses process descriptors: it asks for one too.
    """
    pause = 0.001
    while not process.is_gone():
        left = _LONGEST_PAUSE if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True


if sys.platform == "linux":

    def _wait_readable(process: ProcessId, pidfd: int, deadline: float | None) -> bool:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        # Looked at after the descriptor was opened: from here on it can't mean another process.
        while not process.is_gone():
            # A day at most: poll takes no more than 2**31 milliseconds.
            left = 86400.0 if deadline is None else min(deadline - time.monotonic(), 86400.0)
            if poller.poll(max(left, 0.0) * 1000):
                return True
            if deadline is not None and left <= 0:
                return False
        return True
