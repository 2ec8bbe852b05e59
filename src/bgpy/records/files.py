"""Small files in a private folder: replaced whole, removed without a word."""

from __future__ import annotations

import os
from contextlib import suppress

from bgpy.records.locks import OPEN_FLAGS


def replace(path: str, text: str) -> None:
    """Put `text` where it is found whole or not at all; only this user can read it."""
    temporary = f"{path}.{os.urandom(4).hex()}.new"
    try:
        descriptor = os.open(temporary, OPEN_FLAGS | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        unlink(temporary)
        raise


def read(path: str) -> str | None:
    """The text of a file; None if it is missing or empty."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() or None
    except FileNotFoundError:
        return None


def unlink(path: str) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)
