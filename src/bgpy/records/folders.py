"""Where a server's files are, and whether only this user can get at them.

The layout is drawn in `bgpy.records`.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from contextlib import suppress
from typing import NamedTuple

from bgpy.config import ENV_HOME
from bgpy.errors import StartupError


class Folder(NamedTuple):
    """The paths of one server's folder, whether they exist or not."""

    path: str

    @property
    def record(self) -> str:
        return os.path.join(self.path, "record.json")

    @property
    def token(self) -> str:
        return os.path.join(self.path, "token")

    @property
    def lock(self) -> str:
        return os.path.join(self.path, "lock")

    @property
    def guard(self) -> str:
        return os.path.join(self.path, "guard")

    @property
    def log(self) -> str:
        return os.path.join(self.path, "log")


def home() -> str:
    """Give the absolute path of bgpy's folder, without making it.

    Raises `StartupError`, naming ``BGPY_HOME``, where this account has no home.
    """
    chosen = os.environ.get(ENV_HOME)
    if chosen:
        path = os.path.expanduser(chosen)
        if path.startswith("~"):
            raise StartupError(f"{ENV_HOME} is {chosen!r}, and there is no such home")
        return os.path.realpath(path)
    # Inside, since it is dear to import and needed only without BGPY_HOME.
    import platformdirs

    try:
        path = platformdirs.user_state_dir("bgpy", appauthor=False)
    except RuntimeError:
        # Some of its versions raise where others give a path that starts with "~".
        path = ""
    if not os.path.isabs(path) or os.environ.get("HOME") == "":
        raise StartupError(
            f"this account has no home folder; set {ENV_HOME} to a folder for bgpy's files"
        )
    return os.path.realpath(path)


def folder(host: str, port: int) -> Folder:
    """Give the folder of the server at that (parsed) address, without making it."""
    return Folder(os.path.join(_host_folder(home()), "servers", _safe(f"{host}-{port}")))


def make_private(host: str, port: int) -> Folder:
    """Make the server's folder where it is missing; raise `StartupError` if that can't be."""
    root, place = home(), folder(host, port)
    below = [_host_folder(root), os.path.dirname(place.path), place.path]
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        for path in below:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
    except OSError as error:
        raise StartupError(
            f"bgpy can't keep its files in {root} ({error.strerror}); "
            f"set {ENV_HOME} to a folder that this user can write in"
        ) from error
    exists_privately(place)
    return place


def exists_privately(place: Folder) -> bool:
    """Tell whether the folder is there; raise `StartupError` if others could meddle with it."""
    servers = os.path.dirname(place.path)
    host = os.path.dirname(servers)
    try:
        # The root may be a folder that the user made: readable to all, but not writable.
        _check_folder(os.path.dirname(host), 0o022)
        for path in (host, servers, place.path):
            _check_folder(path, 0o077)
    except FileNotFoundError:
        return False
    return True


def _check_folder(path: str, forbidden: int) -> None:
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise StartupError(f"{path} must be a folder, and no link; remove it")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise StartupError(
            f"{path} belongs to another user (uid {status.st_uid}); "
            f"set {ENV_HOME} to a folder of your own"
        )
    if status.st_mode & forbidden:
        raise StartupError(f"other users can get at {path}; `chmod 700 {path}` mends that")


def _safe(name: str) -> str:
    """Make a file name of it that no other name gets."""
    safe = re.sub(r"[^A-Za-z0-9.-]", lambda m: "_" if m[0] == ":" else f"={ord(m[0]):x}=", name)
    return safe if safe.strip(".") else f"={safe}"


def _host_folder(root: str) -> str:
    return os.path.join(root, _safe(socket.gethostname() or "localhost"))
