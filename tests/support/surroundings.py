"""What all tests of a process share, and what one of them may have changed for the next."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

_SIGNALS = sorted(signal.valid_signals())
_OF_PYTEST = ("_pytest.", "pytest_", "xdist.")
_NONE = object()


def surroundings() -> dict[str, object]:
    """What there is now, by name, as the main thread sees it; in some tenths of a millisecond.

    Without what pytest changes itself from the setting up of a test to its end.
    """
    return {
        "the exception being handled": sys.exception(),
        "the trace function": sys.gettrace(),
        "the trace function of new threads": threading.gettrace(),
        "the profile function": sys.getprofile(),
        "the recursion limit": sys.getrecursionlimit(),
        "the switch interval": sys.getswitchinterval(),
        "the path of imports": list(sys.path),
        "the finders of imports": list(sys.meta_path),
        "the hook for exceptions": sys.excepthook,
        "the collection of garbage": gc.isenabled(),
        "the thresholds of garbage": gc.get_threshold(),
        "the time-out of new sockets": socket.getdefaulttimeout(),
        "the working directory": _working_directory(),
        "the umask": _umask(),
        **dict(_of_logging()),
        **dict(_of_signals()),
        **dict(_of_limits()),
        **{
            f"the variable {name}": value
            for name, value in os.environ.items()
            if not name.startswith("PYTEST_")
        },
    }


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """One line for each that is another, or has gone, or is new."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, became = before.get(name, _NONE), after.get(name, _NONE)
        if was is not became and was != became:
            found.append(f"{name}: {_told(was)} became {_told(became)}")
    return found


def _told(value: object) -> str:
    return "nothing" if value is _NONE else repr(value)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        return str(error)


def _umask() -> int:
    """It can only be read by setting it; what another thread makes meanwhile is private."""
    now = os.umask(0o077)
    os.umask(now)
    return now


def _of_logging() -> Iterator[tuple[str, object]]:
    yield "the level below which nothing is logged", logging.root.manager.disable
    yield "logging.raiseExceptions", logging.raiseExceptions
    yield "logging.lastResort", logging.lastResort
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            state = {
                "level": logger.level,
                "disabled": logger.disabled,
                "propagate": logger.propagate,
                "handlers": [each for each in logger.handlers if not _is_of_pytest(each)],
                "filters": list(logger.filters),
            }
            if state != _UNTOUCHED:  # many have just been asked for by their names
                yield f"the logger {logger.name}", state


_UNTOUCHED = {
    "level": logging.NOTSET,
    "disabled": False,
    "propagate": True,
    "handlers": [],
    "filters": [],
}


def _is_of_pytest(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith(_OF_PYTEST)


def _of_signals() -> Iterator[tuple[str, object]]:
    for number in _SIGNALS:
        yield f"the handler of {number!r}", signal.getsignal(number)
    wakeup_fd = signal.set_wakeup_fd(-1)
    if wakeup_fd != -1:
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
    yield "the wake-up descriptor of signals", wakeup_fd
    if sys.platform != "win32":
        yield "the blocked signals", signal.pthread_sigmask(signal.SIG_BLOCK, ())
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            yield f"the timer {timer}", signal.getitimer(timer)


def _of_limits() -> Iterator[tuple[str, object]]:
    if sys.platform != "win32":
        import resource

        for name in ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CORE"):
            yield name, resource.getrlimit(getattr(resource, name))
