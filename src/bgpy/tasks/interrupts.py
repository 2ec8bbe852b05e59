"""The one frame below which the user's code runs, and what a signal has struck.

::

    worker ─► call_task ─► exec_task ─► user's code          the task's own: it is raised there
                                   └─► respond ─► bgpy ...   held, until the answer has left

A handler of the program's may raise at any instruction of the task thread. Where it struck is read
off the stack alone: below one of `BORDERS` or not, and with `respond` in between or not. So neither
needs a counter that every call would have to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, TypeVar, TypeVarTuple

A = TypeVarTuple("A")
R = TypeVar("R")

_RESPONDING = f"{__name__.partition('.')[0]}.tasks.client_socket"


def call_user(function: Callable[[*A], R], *args: *A) -> R:
    """Run the user's code: every task, every pickle of theirs, every import of their files."""
    return function(*args)


def call_task(
    exec_task: Callable[[Any, Any, Any], R], client_socket: object, state: object, args: object
) -> R:
    """As `call_user` of an `exec_task`: Python takes fewer steps where it knows how many arguments
    there are."""
    return exec_task(client_socket, state, args)


def call_loads(loads: Callable[[bytearray], R], head: bytearray) -> R:
    """As `call_user` of what rebuilds a pickle."""
    return loads(head)


BORDERS = (call_user.__code__, call_task.__code__, call_loads.__code__)
"""Below the frame of one of these the code is the user's."""


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
    while frame is not None and frame.f_code not in BORDERS:
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
