"""Where a server keeps its files, and the check that only this user can reach them.

The layout is drawn in `bgpy.state.records`.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from types import ModuleType
from typing import NamedTuple

from bgpy.config import ENV_HOME
from bgpy.digests import sha256
from bgpy.errors import StartupError
from bgpy.late import once
from bgpy.shortage import room_advice
from bgpy.system.machine import host_name, machine

_LONGEST_NAME = 200
"""Characters of a file name; file systems allow 255."""


class Folder(NamedTuple):
    """The paths of one server's folder, whether they exist or not."""

    path: str

    @property
    def record(self) -> str:
        return os.path.join(self.path, "record.json")

    @property
    def ended(self) -> str:
        return os.path.join(self.path, "ended.json")

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


@once
def _platformdirs() -> ModuleType:
    """`platformdirs`: 10 ms that only a process without ``BGPY_HOME`` needs."""
    import platformdirs

    return platformdirs


def home() -> str:
    """Give the absolute path of bgpy's folder, without making it.

    Raises `StartupError`, naming ``BGPY_HOME``, where this account has no home.
    """
    chosen = os.environ.get(ENV_HOME)
    if chosen:
        path = os.path.expanduser(chosen)
        if path.startswith("~"):
            raise StartupError(
                f"{ENV_HOME} is {chosen!r}, but no account of that name has a home folder",
                advice=f"set {ENV_HOME} to a folder for bgpy's files",
            )
        return os.path.realpath(path)
    try:
        path = _platformdirs().user_state_dir("bgpy", appauthor=False)
    except RuntimeError:
        # Some of its versions raise where others give a path that starts with "~".
        path = ""
    if not os.path.isabs(path) or os.environ.get("HOME") == "":
        raise StartupError(
            "this account has no home folder",
            advice=f"set {ENV_HOME} to a folder for bgpy's files",
        )
    return os.path.realpath(path)


def folder(host: str, port: int) -> Folder:
    """Give the folder of the server at that (parsed) address, without making it."""
    return Folder(os.path.join(below_machine("servers"), safe(f"{host}-{port}")))


def address_of(name: str) -> tuple[str, int] | None:
    """Give the address of the server whose folder has that name; None if the name hides it."""
    host, dash, port = name.rpartition("-")
    if not dash or not port.isdecimal():
        return None
    plain = re.sub(r"_|=([0-9a-f]+)=", lambda m: ":" if m[0] == "_" else chr(int(m[1], 16)), host)
    return plain, int(port)


def below_machine(*names: str) -> str:
    """Give the path `names` within this machine's part of bgpy's folder, without making it."""
    return os.path.join(home(), safe(machine()), *names)


def older(*names: str) -> str | None:
    """The path `names` where it was before machines were told apart by what stays of them.

    That was a folder called by the host name. None if there is nothing at that path.
    """
    path = os.path.join(home(), safe(host_name()), *names)
    return path if path != below_machine(*names) and os.path.exists(path) else None


def places(host: str, port: int) -> list[Folder]:
    """Where the folder of the server at that (parsed) address may be, the likeliest first."""
    before = older("servers", safe(f"{host}-{port}"))
    return [folder(host, port), *([] if before is None else [Folder(before)])]


def server_folders() -> list[Folder]:
    """The folders of all servers of this account on this machine, running or not.

    Raises `StartupError` if other users could change them.
    """
    parents = [below_machine("servers"), older("servers")]
    return [
        Folder(os.path.join(parent, name))
        for parent in parents
        if parent is not None and exists_privately(parent)
        for name in os.listdir(parent)
    ]


def make_private(place: str) -> None:
    """Make a folder below `below_machine` and its parents; raise `StartupError` if that fails."""
    root = home()
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        for path in _below(root, place):
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
    except OSError as error:
        raise StartupError(
            f"bgpy can't keep its files in {root} ({error.strerror})",
            advice=room_advice(error) or f"set {ENV_HOME} to a folder that this user can write in",
        ) from error
    exists_privately(place)


def exists_privately(place: str) -> bool:
    """Tell whether a folder below `below_machine` exists.

    Raises `StartupError` if other users could change it, or one of its parents.
    """
    root = home()
    try:
        # The root may be a folder that the user made: readable to all, but not writable.
        check_folder(root, 0o022)
        for path in _below(root, place):
            check_folder(path, 0o077)
    except FileNotFoundError:
        return False
    return True


def check_folder(path: str, forbidden: int = 0o077, use: str = f"set {ENV_HOME} to") -> None:
    """Raise `StartupError` if `path` is no folder, not ours, or has a bit of `forbidden` set.

    `use` begins the advice and is followed by ``a folder of your own``.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise StartupError(f"{path} must be a folder, not a file or a link", advice="remove it")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise StartupError(
            f"{path} belongs to another user (uid {status.st_uid})",
            advice=f"{use} a folder of your own",
        )
    if status.st_mode & forbidden:
        # Never advised for /tmp, /run and the like: root would take them from everybody.
        shared = status.st_mode & stat.S_ISVTX or os.path.dirname(os.path.dirname(path)) == "/"
        mend = "" if shared else f"run `chmod 700 {path}`, or "
        raise StartupError(
            f"other users have access to {path}", advice=f"{mend}{use} a folder of your own"
        )


def _below(root: str, place: str) -> list[str]:
    """The folders from `root` down to `place`, without `root`."""
    paths = []
    while place != root:
        paths.append(place)
        place = os.path.dirname(place)
    return paths[::-1]


def safe(name: str) -> str:
    """Turn `name` into a file name; different names give different file names."""
    spelt = re.sub(r"[^A-Za-z0-9.-]", lambda m: "_" if m[0] == ":" else f"={ord(m[0]):x}=", name)
    if len(spelt) > _LONGEST_NAME:
        return f"={sha256(name.encode('utf-8', 'surrogateescape')).hex()}"
    return spelt if spelt.strip(".") else f"={spelt}"
