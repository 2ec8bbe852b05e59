"""Where a signal has struck: read off real frames."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.interrupts import Place, call_user, held, place_of
from bgpy.tasks.lifecycle import Kind, Tasks
from bgpy.tasks.signatures import Functions
from tests.support.outlets import Outlet, small, through

Look = Callable[[], None]


class Looks:
    """Looks at the frame that it is called from."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def __call__(self) -> None:
        self.places.append(place_of(sys._getframe(1)))


class LookingOutlet(Outlet):
    """An outlet whose `reply` is the test's code, called by bgpy's."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look

    def reply(self, call: Any, response: Any, error: bool) -> None:
        self._look()

    def fail(self, call: Any, failure: BaseException) -> None:
        self._look()

    def drop(self, call: Any) -> None:
        self._look()


@pytest.fixture
def look() -> Looks:
    return Looks()


def test_place_is_the_task_in_what_it_calls_however_deep(look: Looks) -> None:
    """And outside of it in another thread: only the task thread's stack counts."""

    def task() -> None:
        look()
        [look() for _ in range(1)]
        sorted([2, 1], key=lambda number: look() or number)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    call_user(task)
    assert look.places == [Place.TASK] * 4 + [Place.OUTSIDE]


def test_place_is_outside_when_the_frame_is_call_user_itself() -> None:
    """Before the user's function has begun, and after it has returned."""
    frames: list[FrameType] = []
    call_user(lambda: frames.append(sys._getframe(1)))
    (frame,) = frames
    assert frame.f_code is call_user.__code__
    assert place_of(frame.f_back) is Place.OUTSIDE


def test_place_is_the_task_when_the_engine_runs_it(look: Looks) -> None:
    """All three functions are called below `call_user`."""
    tasks = Tasks()
    outlet = LookingOutlet(look)
    three = Functions(lambda: look(), lambda *_: look(), lambda *_: look())
    for kind, value in ((Kind.INIT, three), (Kind.EXEC, {}), (Kind.EXIT, {})):
        tasks.handle(kind, value, through(outlet))
    assert look.places == [Place.TASK] * 3


@pytest.mark.skipif(not hasattr(signal, "SIGURG"), reason="has no such signals")
def test_place_is_that_of_the_frame_that_a_signal_struck() -> None:
    """As a handler asks it."""
    places: list[Place] = []
    before = signal.signal(signal.SIGURG, lambda number, frame: places.append(place_of(frame)))
    try:
        signal.raise_signal(signal.SIGURG)
        call_user(lambda: signal.raise_signal(signal.SIGURG))
    finally:
        signal.signal(signal.SIGURG, before)
    assert places == [Place.OUTSIDE, Place.TASK]


def test_call_user_gives_arguments_and_result_through() -> None:
    """It adds a frame and nothing else."""
    assert call_user(lambda a, b: (a, b), 1, 2) == (1, 2)


def test_place_of_tells_tasks_from_responding_and_from_the_server() -> None:
    """Where an exception of a handler belongs."""
    places: list[Place] = []

    def note() -> None:
        places.append(place_of(sys._getframe()))

    client_socket = through(LookingOutlet(note))

    def task() -> None:
        note()
        client_socket.respond("value")

    note()
    call_user(task)
    assert places == [Place.OUTSIDE, Place.TASK, Place.RESPONDING]
    assert place_of(None) is Place.OUTSIDE


@pytest.mark.parametrize("make", [through, small])
def test_respond_raises_what_was_held_when_the_answer_has_left(
    make: Callable[[Outlet], ClientSocket],
) -> None:
    """The task's own exception, after its response; in the main thread only."""

    def strike() -> None:
        held.append(LookupError("struck"))

    client_socket = make(LookingOutlet(strike))
    with pytest.raises(LookupError, match="struck"):
        client_socket.respond("value")
    assert client_socket.answered
    assert not held
    other = threading.Thread(target=make(LookingOutlet(strike)).respond, args=(1,))
    other.start()
    other.join()
    assert len(held) == 1
    held.clear()
