"""Small files in a private folder: replaced whole, read, removed without a word.

What the system says against them is a `StartupError`, but for a file that is missing:
that says something about its server.
"""

from __future__ import annotations

import os
from contextlib import suppress

from bgpy.system.locks import OPEN_FLAGS, opened

_NEW = ".new"
"""How the names of files end that are being written, and are not yet in place."""


def replace(path: str, text: str) -> None:
    """Put `text` where it is found whole or not at all; only this user can read it."""
    temporary = f"{path}.{os.urandom(4).hex()}{_NEW}"
    try:
        with opened(path):
            descriptor = os.open(temporary, OPEN_FLAGS | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
    except BaseException:
        unlink(temporary)
        raise


def read(path: str) -> str | None:
    """The text of a file; None if it is missing, empty or no text."""
    try:
        with opened(path), open(path, encoding="utf-8") as file:
            return file.read() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def remove(path: str) -> None:
    """Remove a file, and what a process that was killed while it wrote it has left."""
    for each in (path, *_unfinished(path)):
        unlink(each)


def unlink(path: str) -> None:
    """Remove one file, if it is there."""
    with suppress(FileNotFoundError), opened(path):
        os.unlink(path)


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
