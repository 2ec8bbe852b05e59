"""Small files in a private folder: replaced whole, read, and removed if they exist.

An error of the system becomes a `StartupError`, except that a file is missing: that says
something about its server.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from typing import TypeVar

from bgpy.system.locks import OPEN_FLAGS, opened

R = TypeVar("R")

_NEW = ".new"
"""How the names of files end that are being written, and are not yet in place."""

_ATTEMPTS, _PAUSE = 100, 0.01
"""On Windows: how often, and with how many seconds between, a file is tried that is in use."""


def replace(path: str, text: str) -> None:
    """Put `text` where it is found whole or not at all; only this user can read it."""
    temporary = f"{path}.{os.urandom(4).hex()}{_NEW}"
    try:
        with opened(path):
            descriptor = os.open(temporary, OPEN_FLAGS | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            _patiently(lambda: os.replace(temporary, path))
    except BaseException:
        unlink(temporary)
        raise


def read(path: str) -> str | None:
    """The text of a file; None if it is missing, empty or no text."""
    try:
        # Not by `open`, which is not there any more when a ``__del__`` calls at the program's end.
        with opened(path), _patiently(lambda: FileIO(path)) as file:
            return file.readall().decode() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def open_regular(path: str) -> FileIO:
    """Open a file for reading. Raises `OSError` for anything else that may be at its path.

    Opening or reading a FIFO or a terminal would wait, and take what is meant for somebody else.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return FileIO(path)


def remove(path: str) -> None:
    """Remove a file, and what a process that was killed while it wrote it has left."""
    for each in (path, *_unfinished(path)):
        unlink(each)


def unlink(path: str) -> None:
    """Remove one file, if it is there."""
    with suppress(FileNotFoundError), opened(path):
        _patiently(lambda: os.unlink(path))


def _patiently(action: Callable[[], R]) -> R:
    """Do it; on Windows again for a second where another process has the file open.

    A file that is read there can't be replaced or removed, nor one that is being replaced
    be read; elsewhere all of that works at once.
    """
    if sys.platform == "win32":
        for _ in range(_ATTEMPTS):
            try:
                return action()
            except PermissionError:
                time.sleep(_PAUSE)
    return action()


def _unfinished(path: str) -> list[str]:
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [
        os.path.join(folder, each)
        for each in names
        if each.startswith(f"{name}.") and each.endswith(_NEW)
    ]
