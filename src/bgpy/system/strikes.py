"""Whose an exception is: what the system refused, or what a signal handler raised meanwhile.

Python runs the handlers of signals in its main thread, at nearly any instruction there and
while a call of the system waits. What they raise comes out of whatever was under way, so it
meets the clauses that were written for that. A watchdog's `TimeoutError` that strikes while a
socket is read looks like the socket's own; taken for it the program's exception would be lost,
and a connection that is well would be ended for it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from socket import socket
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

from bgpy.system.ours import is_ours

_LIBRARIES = sys.stdlib_module_names | {"platformdirs", "psutil"}


def is_strike(error: BaseException) -> bool:
    """Whether a handler of the program's raised `error`, which was caught in the calling frame.

    An ``except`` that means a call of the system, or of a library, asks this and lets a strike
    pass. The traceback tells: an error of the system's has come through functions of bgpy and
    the standard library alone, and a handler's through the handler. (Only one that is written
    in C leaves no frame; those there are raise no errors of the system's.)
    """
    if threading.get_ident() != threading.main_thread().ident:
        return False
    for frame in _frames(error.__traceback__):
        if not _is_of_libraries(frame):
            return not _is_of_socket(frame)
    return False


def is_strike_amid(error: BaseException) -> bool:
    """The same where code of the program's was called, so that its functions say nothing.

    The error is a strike there if it has come through a handler that is set now.
    """
    frames = list(_frames(error.__traceback__))
    if threading.get_ident() != threading.main_thread().ident or all(map(_is_of_libraries, frames)):
        return False
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame in frames)


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _code_of(handler: Any) -> CodeType | None:
    """What a handler runs; None for one written in C, and where there is none."""
    while isinstance(handler, partial):
        handler = handler.func
    function = getattr(handler, "__func__", handler)
    if not isinstance(function, FunctionType):
        function = getattr(type(handler), "__call__", None)  # noqa: B004 - an object's method
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _is_of_libraries(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return is_ours(name) or str(name).partition(".")[0] in _LIBRARIES


def _is_of_socket(frame: FrameType) -> bool:
    """Whether it runs a method of a socket: a program may have put its own class in that place
    (one for proxies, say), and what comes from there is the socket's."""
    names = frame.f_code.co_varnames[:1]
    return any(isinstance(frame.f_locals.get(name), socket) for name in names)
