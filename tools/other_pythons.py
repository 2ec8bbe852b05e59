"""Finds the other CPythons of this machine that bgpy supports: ``python tools/other_pythons.py``.

Prints one command a line, newest version first, one for each version. Looks on the ``PATH``, where
pyenv and uv keep theirs, and at ``BGPY_PYTHONS``, a list of commands separated as ``PATH`` is,
which comes first. Prints nothing where there is none.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)

_ASK = (
    "import sys, sysconfig; print(sys.implementation.name, *sys.version_info[:2], "
    "sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)

Kind = tuple[int, int, bool]
"""Major and minor version, and whether it is free-threaded."""


def kind_of(command: str) -> Kind | None:
    """Which CPython a command runs; None if none, or one that bgpy doesn't support."""
    try:
        told = subprocess.run(
            [command, "-I", "-c", _ASK], capture_output=True, text=True, timeout=30, check=True
        ).stdout.split()
        major, minor, free = (int(each) for each in told[1:])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if told[0] != "cpython" or (major, minor) < OLDEST:
        return None
    return major, minor, bool(free)


def candidates() -> list[str]:
    """Commands that may run one, those that the user names first."""
    named = [each for each in os.environ.get("BGPY_PYTHONS", "").split(os.pathsep) if each]
    names = [f"python3.{minor}{free}" for minor in range(11, 20) for free in ("", "t")]
    on_path = [found for name in names if (found := shutil.which(name))]
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.expanduser("~/.local/share/uv/python")
    kept = [
        path
        for pattern in (f"{pyenv}/versions/3.*/bin/python3", f"{uv}/cpython-3.*/bin/python3")
        for path in sorted(glob.glob(pattern))
    ]
    return [*named, *on_path, *kept]


def _named(command: str, kind: Kind) -> str:
    """The same command by its version, where there is one: it names an environment, too."""
    major, minor, free = kind
    name = os.path.join(os.path.dirname(command), f"python{major}.{minor}{'t' if free else ''}")
    return name if os.path.isfile(name) else command


def others(own: str = sys.executable) -> list[str]:
    """A command for each other kind of CPython, the newest first."""
    found: dict[Kind, str] = {}
    mine = kind_of(own)
    for command in candidates():
        kind = kind_of(command)
        if kind is not None and kind != mine:
            found.setdefault(kind, _named(command, kind))
    return [found[kind] for kind in sorted(found, reverse=True)]


if __name__ == "__main__":
    for each in others():
        print(each)
