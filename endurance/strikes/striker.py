"""Lets something happen at the Nth place where the interpreter may run a signal's handler.

CPython looks for signals at few instructions only: when a function begins, when a loop goes
round, and after a call of something written in C. A trace function sees every instruction
before it is run, counts those, and at the Nth marks the signal as having come. It does so
from inside a C iterator that a ``for`` asks, where the interpreter doesn't look, so the trace
function itself isn't struck: the handler runs after the traced instruction, as it would if
the signal had come from outside. Raising from the trace function instead would strike where
no signal can, between the instructions that end a ``with`` block, say.

The collector is another matter: it may run wherever something is allocated. With
`collecting` the trace function itself does what is to be done, at those instructions too.
"""

from __future__ import annotations

import _thread
import dis
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from endurance.strikes.gap import is_entering

NUMBER = getattr(signal, "SIGUSR1", signal.SIGINT)  # Windows has none, and strikes nothing
_COME = (NUMBER,)
_HERE = str(Path(__file__).parent)


def _named(*beginnings: str) -> frozenset[int]:
    return frozenset(dis.opmap[name] for name in dis.opmap if name.startswith(beginnings))


LOOKING = _named("CALL", "RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
ALLOCATING = LOOKING | _named("BUILD_", "LIST_", "DICT_", "MAKE_FUNCTION", "BINARY_OP")

_LOOKED_BEFORE = sys.version_info >= (3, 13)
"""Whether a function looks for signals before the trace function is told of its call.

What is marked there would be found within the next call of the trace function. So the handler
is called by that, as the interpreter would have called it.
"""


class Struck(Exception):
    """What a handler of the user's raises; nobody but its own code knows it."""


class StruckLate(Struck, TimeoutError):
    """That of a watchdog, which looks like a socket's that has waited long enough."""


class StruckBlocked(Struck, BlockingIOError):
    """One that looks like a socket's without room."""


class StruckLost(Struck, ConnectionResetError):
    """One that looks like the end of a connection."""


class StruckValue(Struck, ValueError):
    """One that looks like that of a closed descriptor."""


class StruckRuntime(Struck, RuntimeError):
    """One that looks like that of a lock which nobody holds."""


class StruckIndex(Struck, IndexError):
    """One that looks like that of an empty queue."""


ALIKE = (StruckLate, StruckBlocked, StruckLost, StruckValue, StruckRuntime, StruckIndex)
"""What looks like an exception of the system's that is caught where it may strike."""


Strike = Callable[[FrameType], None]


class Striker:
    """Strikes the main thread once each time it is armed."""

    def __init__(self) -> None:
        self.left = 0
        """Places to go until the strike."""
        self.where = "nowhere"
        """Where the last strike fell."""
        self.fallen = 0
        """How many strikes fell so far."""
        self._strike: Strike = raise_struck
        self._collecting = False
        signal.signal(NUMBER, self._handle)

    def arm(self, at: int, strike: Strike, *, collecting: bool = False) -> None:
        """Strike at the `at`th place from here on, in functions called from now on."""
        self.left, self._strike, self._collecting = at, strike, collecting
        sys.settrace(self._trace)

    def arm_around(self, frame: FrameType | None, at: int, strike: Strike) -> None:
        """As `arm`, also in `frame` and those that have called it, when they go on."""
        while frame is not None:
            if not _is_ours(frame):
                frame.f_trace, frame.f_trace_opcodes = self._trace, True
            frame = frame.f_back
        self.arm(at, strike)

    def disarm(self) -> None:
        """Strike no more."""
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if _is_ours(frame):
            return None
        frame.f_trace_opcodes = True
        if event == "call" or (event == "opcode" and self._counts(frame)):
            self.left -= 1
            if self.left == 0:
                if self._collecting:
                    self._now(frame)
                elif event == "call" and _LOOKED_BEFORE:
                    _call_handler(frame)
                else:
                    for _ in map(_thread.interrupt_main, _COME):
                        break
        return self._trace

    def _counts(self, frame: FrameType) -> bool:
        if not self._collecting and is_entering(frame):
            return False
        opcode = frame.f_code.co_code[frame.f_lasti]
        return opcode in (ALLOCATING if self._collecting else LOOKING)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.left == 0 and frame is not None and not _is_ours(frame):
            if is_entering(frame):
                self.left = 1  # the mark was found here instead of where it was set
            else:
                self._now(frame)

    def _now(self, frame: FrameType) -> None:
        sys.settrace(None)
        self.where = describe(frame)
        self.fallen += 1
        self._strike(frame)


def _call_handler(frame: FrameType) -> None:
    handler = signal.getsignal(NUMBER)
    if callable(handler):
        handler(NUMBER, frame)


def raise_struck(frame: FrameType) -> None:
    """The strike of a handler that raises."""
    raise Struck(describe(frame))


def raise_interrupt(frame: FrameType) -> None:
    """The strike of Ctrl-C."""
    raise KeyboardInterrupt(describe(frame))


def describe(frame: FrameType) -> str:
    """Where a strike fell: the innermost function of bgpy's, and below it what it had called."""
    names = []
    at: FrameType | None = frame
    while at is not None:
        names.append(f"{Path(at.f_code.co_filename).name}:{at.f_lineno} {at.f_code.co_name}")
        if "bgpy" in Path(at.f_code.co_filename).parts or len(names) > 5:
            break
        at = at.f_back
    return " < ".join(names)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE)
