"""Which of a server's modules have been edited since it loaded them from their files.

The server takes a stamp of each file for its record; whoever finds the record on that machine
compares. A file whose time, size and number are the same isn't read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from bgpy.codec.loaded import ModuleSource, code_version, digest, version
from bgpy.system.strikes import is_strike

Stamp = tuple[str, str, str, int, int, int]
"""Of one module: its file, its version as it was loaded, that of its code alone, and the file's
time in ns, size and inode.

In a record it is a list.
"""

_OTHER = (0, 0, 0)
_KINDS = (str, str, str, int, int, int)


def stamps(sources: Iterable[ModuleSource]) -> dict[str, Stamp]:
    """By name, a stamp of each module that was loaded from a file that is here."""
    found = {}
    for source in sources:
        try:
            seen = _look(source.file)
            if source.code or source.edited:  # before it was looked at, after it was loaded
                seen = _OTHER
            found[source.name] = source.file, version(source), code_version(source), *seen
        except (OSError, ValueError) as error:  # a file's name may be none, as in "<a, b>"
            if is_strike(error):
                raise
    return found


def edited(told: Mapping[str, Any]) -> list[str]:
    """The modules whose files hold other code now than was loaded; `told` is from a record."""
    return sorted(name for name, stamp in told.items() if _is_stamp(stamp) and _is_edited(*stamp))


def _is_stamp(told: Any) -> bool:
    """Whether that is one of this version's: records are written by other versions, too."""
    return isinstance(told, (list, tuple)) and tuple(map(type, told)) == _KINDS


def _is_edited(file: str, loaded: str, code: str, *seen: int) -> bool:
    try:
        if _look(file) == tuple(seen):
            return False
        with open(file, "rb") as opened:
            text = opened.read()
        now = ModuleSource("", text, file, False)
        return digest(text) != loaded and code_version(now) != code
    except (OSError, ValueError) as error:  # it is gone, no longer ours to read, or no file's name
        if is_strike(error):
            raise
        return False


def _look(file: str) -> tuple[int, int, int]:
    status = os.stat(file)
    return status.st_mtime_ns, status.st_size, status.st_ino
