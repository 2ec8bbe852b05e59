"""Loads the three functions of a server from its init file."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from bgpy.errors import StartupError
from bgpy.tasks.signatures import Functions, check


def check_exists(path: str) -> str:
    """Return the absolute path of an init file; raise `StartupError` if it can't be one."""
    if not os.path.isfile(path):
        wrong = "is a folder, not a file" if os.path.isdir(path) else "does not exist"
        raise StartupError(
            f"the init file {path} {wrong}",
            advice="give the path of a Python file with init_task, exec_task and exit_task",
        )
    if not os.path.splitext(os.path.basename(path))[0].isidentifier() or path[-3:] != ".py":
        raise StartupError(
            f"the init file {path} can't be imported under that name",
            advice="rename it like a module, such as tasks.py",
        )
    return os.path.abspath(path)


def load(path: str) -> Functions:
    """Import `path` by its stem, with its folder on `sys.path`, and return its three functions.

    Raises `StartupError` naming the functions that are missing, `TypeError` if one has the
    wrong parameters, and what the file itself raises.
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
            f"the init file {path} is hidden by another module named {stem} "
            f"({found or 'built in'})",
            advice="rename the init file",
        )
    lacking = [each for each in Functions._fields if not hasattr(module, each)]
    if lacking:
        raise StartupError(
            f"the init file {path} lacks {', '.join(lacking)}", advice="define what is missing"
        )
    functions = Functions(*(getattr(module, each) for each in Functions._fields))
    check(functions)
    return functions


def failure(path: str, error: BaseException) -> StartupError:
    """The error of a server whose init file, or its `init_task`, has raised `error`.

    It names the line of the file; where none was reached, the file.
    """
    if isinstance(error, StartupError):
        return error
    text = traceback.format_exception_only(error)[-1].strip()
    return StartupError(f"the init file failed: {text} ({_place(path, error)})")


def _place(path: str, error: BaseException) -> str:
    """Where it failed: the file and, where that is known, the line and the function."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    real = os.path.realpath(path)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if os.path.realpath(frame.filename) == real]
    if not own:
        return path
    within = "" if own[-1].name == "<module>" else f", in {own[-1].name}"
    return f"{own[-1].filename}, line {own[-1].lineno}{within}"
