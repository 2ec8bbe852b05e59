"""Exceptions at any place of bgpy's code, as a signal handler raises them."""

from __future__ import annotations

import dis
import linecache
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_HANDLING = {dis.opmap["PUSH_EXC_INFO"], dis.opmap["POP_EXCEPT"], dis.opmap["NOP"]}


class Struck(BaseException):
    """What the signal handler raises."""


def is_out_of_reach(frame: FrameType) -> bool:
    """Whether the next instruction is one before which the interpreter takes no signals.

    It begins or ends the handling of an exception, and nothing undoes that half: where a trace
    function raises there, the thread handles that exception for the rest of its life, and all
    that is raised later has it as its context. Or it does nothing, where a ``try`` begins, and
    lies between what the blocks in and around it cover.
    """
    return frame.f_code.co_code[frame.f_lasti] in _HANDLING


def strike(at: int, function: Callable[..., Any], *args: Any, within: tuple[str, ...] = ()) -> bool:
    """Call `function`, and raise `Struck` before the line of it that is run as number `at`.

    With `within`, lines of functions in files whose path holds one of these count, else
    those of `function` itself. Tells whether it was through before; raises what is raised.
    """
    code = getattr(function, "__func__", function).__code__
    lines = 0
    entered: set[tuple[int, int]] = set()

    def meant(frame: FrameType) -> bool:
        if within:
            path = frame.f_code.co_filename.replace("\\", "/")
            return any(part in path for part in within)
        return frame.f_code is code

    def left(frame: FrameType) -> bool:
        """Whether a `with` block is being left: the interpreter takes no signals there."""
        place = id(frame), frame.f_lineno
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if not line.lstrip().startswith("with "):
            return False
        again = place in entered
        entered.symmetric_difference_update({place})
        return again

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        if not meant(frame):
            return trace if event == "call" else None
        if event == "line" and not left(frame) and not is_out_of_reach(frame):
            lines += 1
            if lines == at + 1:
                sys.settrace(None)
                raise Struck
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(before)
    return lines <= at
