"""What the log of a server tells of its end, for those that find the server gone.

A crash (SIGSEGV and the like) is reported by `faulthandler`, a second signal by the server itself.
SIGKILL, ``os._exit`` and a lack of memory leave no word. A log may be that of one server after
another: each puts a line of its own there before anything else (`begin`), whatever its
``log_level``, and only what follows the last such line is about the last server. Where rotation
has taken that line away, all that is left is of that server.

**Whose report it is.** The children of a server write to the same log, and some have `faulthandler`
too, as those of test runners and worker pools have; a task may print such a text. `faulthandler`
tells of all threads of its process, the server's main thread among them, and the line that begins a
server's log tells which one that is. A child that the server has forked has the same main thread,
and none of the others: a report of that thread alone counts if nothing follows it, and so does one
where it isn't known which thread that is. A report behind which the server itself has logged
anything was not its end.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time

from bgpy.system.files import open_regular
from bgpy.system.strikes import is_strike

LOG_END = 2**18
"""Bytes read from the end of a log: the stacks of a hundred threads, and what others write on."""

SECOND_SIGNAL = "second signal, "
"""How the last words of a server begin that a second signal ends; the signal's name follows."""

_BEGINS = " bgpy.server: a server begins, process "
_MAIN = ", main thread "
_BEGUN = re.compile(f"{_BEGINS}[0-9]+{_MAIN}0x([0-9a-f]+)".encode())

_THREAD = re.compile(rb"^(?:Current t|T)hread 0x([0-9a-f]+)", re.MULTILINE)
_NOT_ALL = re.compile(rb"^\.\.\.|^<Cannot show all threads", re.MULTILINE)
"""In place of threads that are not told of: there are too many, or this build can't."""

_BODY = re.compile(
    rb"(?:[ \t]*\r?\n|"
    rb"(?:Current thread|Thread|Extension modules:|Python runtime state:|  |\.\.\.|<)"
    rb"[^\n]*(?:\n|\Z))*"
)
"""What belongs to a report, behind its first line: stacks, of Python and of C, and modules."""

_OWN_LINE = re.compile(rb"^[^\n]* bgpy\.server: (?!" + SECOND_SIGNAL.encode() + rb")", re.MULTILINE)

_REPORT = re.compile(
    rb"(?:Fatal Python error|Windows fatal exception): ([^\r\n]{1,200})"
    rb"|bgpy\.server: " + SECOND_SIGNAL.encode() + rb"(SIG[A-Z]+):"
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


def begin(descriptor: int) -> None:
    """Write the line that tells what this process logs from what servers before it have logged.

    Not by `logging`, whose levels and handlers could drop it. A pipe or a terminal gets none:
    nobody reads it again.
    """
    main = f"{_MAIN}{threading.main_thread().ident:#x}"
    now = time.time()
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    line = f"{at},{int(now % 1 * 1000):03} INFO{_BEGINS}{os.getpid()}{main}\n"
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.write(descriptor, line.encode())
    except OSError as error:  # a full disk keeps no server from its start
        if is_strike(error):
            raise


def end_told_by(log_file: str | None) -> str | None:
    """How the last server that wrote that log ended, for people; None if the log doesn't tell."""
    report = _last_report(log_file)
    if report is None:
        return None
    crash, second = (each and each.decode(errors="replace") for each in report.groups())
    if second:
        return f"a second signal, {second}, ended it at once"
    signal = _SIGNALS.get(str(crash))
    return f"it crashed: {crash} ({signal})" if signal else f"it crashed: {crash}"


def crash_line(log_file: str | None) -> str | None:
    """The line in which `faulthandler` names the crash; None if the log has none.

    The stacks and the list of extension modules that follow it say less.
    """
    report = _last_report(log_file)
    return report[0].decode(errors="replace") if report is not None and report[1] else None


def _last_report(log_file: str | None) -> re.Match[bytes] | None:
    """The last report of an end that the last server which wrote that log has left."""
    if log_file is None:
        return None
    try:
        # Not by `open`, which is not there any more when a ``__del__`` calls at the program's end.
        with open_regular(log_file) as file:
            file.seek(max(0, file.seek(0, 2) - LOG_END))
            text = file.read(LOG_END) or b""
    except OSError as error:
        if is_strike(error):
            raise
        return None
    text = text[max(text.rfind(_BEGINS.encode()), 0) :]
    begun = _BEGUN.match(text)
    main = None if begun is None else int(begun[1], 16)
    own = (each for each in reversed(list(_REPORT.finditer(text))) if _is_own(each, main))
    return next(own, None)


def _is_own(report: re.Match[bytes], main: int | None) -> bool:
    """Whether the server whose `main` thread that is, if known, wrote that report as it ended."""
    text = report.string
    line_end = text.find(b"\n", report.end()) + 1 or len(text)
    if _OWN_LINE.search(text, line_end):
        return False
    if report[2]:
        return True  # its own word
    body = _BODY.match(text, line_end)
    assert body is not None, "it may be empty"
    threads = {int(each, 16) for each in _THREAD.findall(body[0])}
    all_told = main is not None and threads and not _NOT_ALL.search(body[0])
    if all_told and main not in threads:
        return False
    return body.end() == len(text) or (main in threads and len(threads) > 1)
