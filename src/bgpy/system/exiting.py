"""Ending a process at once, with what it has printed written out."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn


def flush() -> None:
    """Write out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def leave_child(error: BaseException | None) -> NoReturn:
    """End this forked child of a task, which has raised `error` or returned, as Python would."""
    code = 0
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or 0
    elif isinstance(error, SystemExit):
        print(error.code, file=sys.stderr)
        code = 1
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    leave(code & 0xFF)


def leave(code: int) -> NoReturn:
    """End this process with `code`, whatever its threads do; nothing can keep it."""
    try:
        flush()
    finally:
        os._exit(code)
