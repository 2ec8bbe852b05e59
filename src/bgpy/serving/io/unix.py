"""Binding a Unix socket where only its own user can get at it.

A socket file stays when its server dies. It is taken over if nobody listens there; the
lock on its folder, held from the look until the new server listens, keeps two servers
from taking the same one.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from bgpy.errors import StartupError
from bgpy.state import folders

USE = "listen at unix:/path in"

if sys.platform == "win32":

    def bind(path: str, backlog: int) -> socket.socket:
        """Listen at `path`."""
        raise StartupError("Python has no Unix sockets on Windows: use 127.0.0.1 and a port")

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
        """Listen at `path`; its folder is made where it is missing.

        Raises `StartupError` if the folder isn't this user's alone, or something else
        than the socket of a dead server is there, and `OSError` if the system refuses.
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
        """Tell the file at `path` from any other that is put there later; None without one."""
        try:
            status = os.lstat(path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def remove(path: str) -> None:
        """Remove the socket at `path`, if it is still there."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def remove_stale(folder: str, lives: Callable[[str], bool]) -> None:
        """Remove the sockets of dead servers in a folder that holds nothing but sockets.

        Those of which `lives` knows that they do are left alone: the others have a
        connection tried, which a living server notes as a stranger's.
        """
        with _locked(folder):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if _is_socket(path) and not lives(path) and not _listens(path):
                    remove(path)

    def _make(folder: str) -> None:
        """Make what is missing of `folder` and those above it, for this user alone."""
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
                f"the folder {path} can't be made ({error.strerror}): {USE} a folder that "
                "this user can write in"
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
            raise StartupError(f"{path} is there and no socket: remove it, or use another path")
        if _listens(path):
            raise StartupError(
                f"another program listens at unix:{path}: stop it, or use another path"
            )
        remove(path)

    def _listens(path: str) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except OSError as error:
                # Anything else, such as a full backlog, comes of somebody who is there.
                return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
            return True

    def _is_socket(path: str) -> bool:
        try:
            return stat.S_ISSOCK(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False
