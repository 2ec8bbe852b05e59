"""The one frame below which the user's code runs, and what a signal has struck.

::

    worker ─► call_user ─► exec_task ─► user's code          the task's own: it is raised there
                                   └─► respond ─► bgpy ...   held, until the answer has left

A handler of the program's may raise at any instruction of the task thread. Where it struck is read
off the stack alone: below `call_user` or not, and with `respond` in between or not. So neither
needs a counter that every call would have to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from threading import current_thread, main_thread
from types import FrameType
from typing import TypeVar, TypeVarTuple

A = TypeVarTuple("A")
R = TypeVar("R")

_RESPONDING = f"{__name__.partition('.')[0]}.tasks.client_socket"


def call_user(function: Callable[[*A], R], *args: *A) -> R:
    """Run the user's code: every task, every pickle of theirs, every import of their files."""
    return function(*args)


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
