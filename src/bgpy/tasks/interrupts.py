"""The one frame below which the user's code runs, and where an interrupt may strike.

::

    runner ─► call_user ─► exec_task ─► user's code          may be interrupted
                                   └─► respond ─► bgpy ...   must not be

An interrupt of a running task is a signal whose handler looks at the frame it
struck. Whether it may raise there is read off the stack alone: strictly below
`call_user`, and no frame of bgpy in between. So the runtime's own entries are
masked without a counter that every call would have to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from threading import current_thread, main_thread
from types import FrameType
from typing import TypeVar, TypeVarTuple

A = TypeVarTuple("A")
R = TypeVar("R")

_PACKAGE = __name__.partition(".")[0]
_RESPONDING = f"{_PACKAGE}.tasks.client_socket"
_EXAMPLES = f"{_PACKAGE}.example"


def call_user(function: Callable[[*A], R], *args: *A) -> R:
    """Run the user's code: every task, every pickle of theirs, every import of their files."""
    return function(*args)


def interruptible(frame: FrameType | None) -> bool:
    """Whether an exception may be raised in `frame`, the one that a signal struck."""
    if frame is None or frame.f_code is call_user.__code__:
        return False
    while frame is not None and not _is_ours(frame):
        frame = frame.f_back
    return frame is not None and frame.f_code is call_user.__code__


class Place(Enum):
    """Where a signal has struck the task thread."""

    OUTSIDE = auto()
    """No task runs there: the server waits, reads, or answers."""
    TASK = auto()
    """In a task, or in what it calls."""
    RESPONDING = auto()
    """In a task that responds: half an answer may have left."""


def place_of(frame: FrameType | None) -> Place:
    """Where the `frame` is that a signal has struck."""
    place = Place.TASK
    while frame is not None and frame.f_code is not call_user.__code__:
        if frame.f_globals.get("__name__") == _RESPONDING:
            place = Place.RESPONDING
        frame = frame.f_back
    return Place.OUTSIDE if frame is None else place


held: list[BaseException] = []
"""What handlers have raised while a task responded, until it has: of the main thread, which
alone runs handlers. Appending and popping are whole, so a strike between them loses nothing."""


def raise_held() -> None:
    """Raise in the main thread what was held there; called where `held` holds something."""
    if current_thread() is main_thread() and held:
        raise held.pop(0)


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    if name.startswith(_EXAMPLES):
        return False
    return name == _PACKAGE or name.startswith(f"{_PACKAGE}.")
