"""What the log of a server tells of its end, for those that find the server gone.

A crash (SIGSEGV and the like) is reported by `faulthandler`, a second signal by the server itself.
SIGKILL, ``os._exit`` and a lack of memory leave no word. Only what was written since that server
began to listen is about it: a log may be that of one server after another.
"""

from __future__ import annotations

import re
from io import FileIO

from bgpy.system.strikes import is_strike

LOG_END = 2**18
"""Bytes read from the end of a log: the stacks of a hundred threads, and what others write on."""

BEGAN = b" bgpy.server: listening on "

_REPORT = re.compile(
    rb"(?:Fatal Python error|Windows fatal exception): ([^\r\n]{1,200})"
    rb"|bgpy\.server: second signal, (SIG[A-Z]+):"
)

_SIGNALS = {
    "Segmentation fault": "SIGSEGV",
    "Aborted": "SIGABRT",
    "Bus error": "SIGBUS",
    "Floating-point exception": "SIGFPE",
    "Floating point exception": "SIGFPE",
    "Illegal instruction": "SIGILL",
}
"""What `faulthandler` calls a signal."""


def end_told_by(log_file: str | None) -> str | None:
    """How the last server that wrote that log ended, for people; None if the log doesn't tell."""
    if log_file is None:
        return None
    try:
        # Not by `open`, which is not there any more when a ``__del__`` calls at the program's end.
        with FileIO(log_file) as file:
            file.seek(max(0, file.seek(0, 2) - LOG_END))
            text = file.read(LOG_END) or b""
    except OSError as error:
        if is_strike(error):
            raise
        return None
    reports = list(_REPORT.finditer(text[max(text.rfind(BEGAN), 0) :]))
    if not reports:
        return None
    crash, second = (each and each.decode(errors="replace") for each in reports[-1].groups())
    if second:
        return f"a second signal, {second}, ended it at once"
    signal = _SIGNALS.get(str(crash))
    return f"it crashed: {crash} ({signal})" if signal else f"it crashed: {crash}"
