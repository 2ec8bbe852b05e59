"""A logger whose handlers may fail: what one of the user's raises there keeps nobody from his work.

A server logs in the midst of ending a call. A handler that a task or the user's program has
put on its logger, or above it, may raise: a full disk, a lost connection, a mistake.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback

from bgpy.system import reserve

_shielded: set[str] = set()


def shield(name: str) -> None:
    """Have the logger `name` print what its handlers raise to stderr, and go on; once for all."""
    if name in _shielded:
        return
    _shielded.add(name)
    log = logging.getLogger(name)
    handle = log.handle

    def shielded(record: logging.LogRecord) -> None:
        try:
            handle(record)
        except Exception as error:
            if isinstance(error, MemoryError):
                reserve.give_back()
            # As `logging.Handler.handleError` does for the library's own handlers.
            if logging.raiseExceptions:
                with contextlib.suppress(Exception):
                    print(f"a log handler failed on: {record.msg!s:.200}", file=sys.stderr)
                    traceback.print_exc()

    log.handle = shielded  # type: ignore[method-assign]
