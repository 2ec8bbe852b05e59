"""The tasks of a server that is struck: they count which calls ran, and strike if asked to.

``{"id": n}`` counts the call and responds with that number; what else may be there:
``sleep`` (seconds), ``strike`` (the place, counted from the end of the task, at which the
task thread is struck), ``collect`` (likewise, the collector), ``timer`` (seconds between
signals whose handler raises, 0 to end them), ``leave`` (a deferred answer, left to the
collector), ``sweep`` (the collector runs), ``book`` (how often each call ran).
"""

from __future__ import annotations

import gc
import random
import signal
import sys
import time
from types import FrameType
from typing import Any

from bgpy import respond
from bgpy.tasks.interrupts import BORDERS
from endurance.strikes.striker import Striker, Struck, describe, raise_struck

_strikers: list[Striker] = []
_open: dict[int, Any] = {}
"""Deferred answers, by the number of their call."""


def init_task() -> dict[int, int]:
    """Nothing has run."""
    return {}


def exec_task(client_socket: Any, state: dict[int, int], args: dict[str, Any]) -> dict[int, int]:
    """Count the call, do what `args` ask for, and respond."""
    if "book" in args:
        respond(client_socket, dict(state))
        return state
    number = args["id"]
    state[number] = state.get(number, 0) + 1
    counted = True  # noqa: F841 - `_is_before_the_count` looks for it
    if "sleep" in args:
        time.sleep(args["sleep"])
    if "timer" in args:
        _set_timer(args["timer"])
    if "sweep" in args:
        gc.collect()
    if "leave" in args:
        _open[number] = client_socket.defer()
        Left(number)
        if args["leave"]:
            _striker().arm_around(sys._getframe(), args["leave"], _collect)
        return state
    if "strike" in args:
        _striker().arm_around(sys._getframe(), args["strike"], _say_and_raise)
    respond(client_socket, {"id": number})
    return state


def exit_task(client_socket: Any, state: dict[int, int], args: dict[str, Any]) -> None:
    """Strike no more."""
    signal.setitimer(signal.ITIMER_REAL, 0)


class Left:
    """Garbage that answers a call when it is collected."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._myself = self

    def __del__(self) -> None:
        _open.pop(self._number).respond({"id": self._number})


def _striker() -> Striker:
    if not _strikers:
        _strikers.append(Striker())
    return _strikers[0]


def _say_and_raise(frame: FrameType) -> None:
    print(f"struck at {describe(frame)}", flush=True)
    raise_struck(frame)


def _collect(frame: FrameType) -> None:
    print(f"collected at {describe(frame)}", flush=True)
    gc.collect()


def _set_timer(seconds: float) -> None:
    signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _raise(number: int, frame: FrameType | None) -> None:
    left = signal.getitimer(signal.ITIMER_REAL)[1]
    if left:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.5, 1.5) * left, left)
    if not _is_before_the_count(frame):
        raise Struck("a timer of the task's")


def _is_before_the_count(frame: FrameType | None) -> bool:
    """Whether a call is under way that is not counted yet: struck there it ends, and rightly,
    in a failure that nobody hears of who has only its receipt."""
    while frame is not None and frame.f_code not in BORDERS:
        if frame.f_code is exec_task.__code__:
            return "counted" not in frame.f_locals
        frame = frame.f_back
    return frame is not None


TASKS = (init_task, exec_task, exit_task)
