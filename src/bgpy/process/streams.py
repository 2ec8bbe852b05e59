"""Paths that name no file of their own but a descriptor that some process has open.

Such are ``/dev/stdout``, ``/dev/fd/3``, ``/proc/self/fd/1``, and links to them. Each process means
another file by them, and what they lead to belongs to whoever opened it.
"""

from __future__ import annotations

import os
import re
import sys

from bgpy.errors import StartupError

_DESCRIPTOR = re.compile(r"/proc/\d+/(?:task/\d+/)?fd/\d+|/dev/fd/\d+")
_MOST_LINKS = 40


def descriptor_at(path: str) -> str | None:
    """The descriptor that `path` leads to, by a path that other processes may use on Linux.

    It is ``/proc/PID/fd/NUMBER`` there, and good as long as that process runs and has it open.
    None if `path` leads to a file, to nothing or in a circle.
    """
    if sys.platform == "win32":
        return None
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(os.path.abspath(path))
        path = os.path.join(os.path.realpath(folder), name)
        if _DESCRIPTOR.fullmatch(path):
            return path
        if not os.path.islink(path):
            return None
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None


def for_another_process(path: str) -> str:
    """A path by which a process that this one starts finds the same file or stream.

    Raises `StartupError` where the system has none.
    """
    found = descriptor_at(path)
    if found is None:
        return path
    if found.startswith("/proc/"):
        return found
    raise StartupError(
        f"log_file {path} is a stream of this process, which the server's process doesn't have",
        advice="give the path of a file",
        log_file=path,
    )
