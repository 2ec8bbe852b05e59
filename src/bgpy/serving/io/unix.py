"""Binding a Unix socket in a folder that only its own user can reach.

When a server dies, its socket file stays. A new server takes it over if nobody listens
there; it locks the folder from the check until it listens, so that two servers can't take
the same path.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from bgpy.address import NO_UNIX_SOCKETS, USE_LOOPBACK
from bgpy.errors import StartupError
from bgpy.shortage import room_advice
from bgpy.state import folders

USE = "listen at unix:/path in"

if sys.platform == "win32":

    def bind(path: str, backlog: int) -> socket.socket:
        """Listen at `path`."""
        raise StartupError(NO_UNIX_SOCKETS, advice=USE_LOOPBACK)

    def identity(path: str) -> object:
        """Tell the file at `path` from any other."""
        return None

    def remove(path: str) -> None:
        """Remove what `bind` made."""

    def remove_stale(folder: str, lives: Callable[[str], bool]) -> None:
        """Remove the sockets of dead servers."""

else:
    import fcntl

    def bind(path: str, backlog: int) -> socket.socket:
        """Listen at `path`; make its folder if it is missing.

        Raises `StartupError` if other users can reach the folder, or if `path` is anything
        but the socket of a dead server, and `OSError` if the system call fails.
        """
        folder = os.path.dirname(path)
        _make(folder)
        folders.check_folder(folder, use=USE)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _locked(folder):
                _take_over(path)
                sock.bind(path)
                os.chmod(path, 0o600)
                sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        return sock

    def identity(path: str) -> object:
        """Identify the file at `path`, to tell it from a later one; None if there is none."""
        try:
            status = os.lstat(path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def remove(path: str) -> None:
        """Remove the socket at `path`, if it still exists."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def remove_stale(folder: str, lives: Callable[[str], bool]) -> None:
        """Remove the sockets of dead servers in a folder that holds nothing but sockets.

        Sockets for which `lives` is true stay. The others are tested by connecting, which a
        living server logs as a client that sent nothing.
        """
        with _locked(folder):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if _is_socket(path) and not lives(path) and not _listens(path):
                    remove(path)

    def _make(folder: str) -> None:
        """Make `folder` and its missing parents, for this user alone."""
        missing = []
        while not os.path.exists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        try:
            for path in reversed(missing):
                with suppress(FileExistsError):
                    os.mkdir(path, 0o700)
        except OSError as error:
            raise StartupError(
                f"the folder {path} can't be made ({error.strerror})",
                advice=room_advice(error) or f"{USE} a folder that this user can write in",
            ) from error

    @contextmanager
    def _locked(folder: str) -> Iterator[None]:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _take_over(path: str) -> None:
        """Remove the socket of a dead server, if there is one."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            raise StartupError(
                f"{path} exists and is not a socket", advice="remove it, or use another path"
            )
        if _listens(path):
            raise StartupError(
                f"another program listens at unix:{path}",
                advice="stop it, or use another path",
                address=f"unix:{path}",
            )
        remove(path)

    def _listens(path: str) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except OSError as error:
                # Any other error, such as a full backlog, means that somebody listens.
                return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
            return True

    def _is_socket(path: str) -> bool:
        try:
            return stat.S_ISSOCK(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False
