"""The three functions from a file."""

from __future__ import annotations

import importlib
import os
import sys

from bgpy.errors import StartupError
from bgpy.tasks.signatures import Functions, check


def check_exists(path: str) -> str:
    """The absolute path of an init file; raises `StartupError` if it is none."""
    if not os.path.isfile(path):
        wrong = "is a folder, not a file" if os.path.isdir(path) else "does not exist"
        raise StartupError(f"the init file {path} {wrong}")
    if not os.path.splitext(os.path.basename(path))[0].isidentifier() or path[-3:] != ".py":
        raise StartupError(f"the init file {path} must be named as a module, like tasks.py")
    return os.path.abspath(path)


def load(path: str) -> Functions:
    """Import `path` under its stem, its folder on `sys.path`, and take its three functions.

    Raises `StartupError` naming the functions it lacks, `TypeError` where one takes
    other parameters, and what the file itself raises.
    """
    path = check_exists(path)
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    module = importlib.import_module(stem)
    found = getattr(module, "__file__", None)
    if os.path.realpath(found or "") != os.path.realpath(path):
        raise StartupError(
            f"the init file {path} is hidden by another module of the name {stem} "
            f"({found or 'built in'}): rename it"
        )
    lacking = [each for each in Functions._fields if not hasattr(module, each)]
    if lacking:
        raise StartupError(f"the init file {path} lacks {', '.join(lacking)}")
    functions = Functions(*(getattr(module, each) for each in Functions._fields))
    check(functions)
    return functions
