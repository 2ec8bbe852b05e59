"""A signal handler whose exception looks like one of the system's: a program's watchdog."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from bgpy import Client, Handle, respond
from endurance.strikes.gap import is_entering

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")

LONG = 30.0
CALLS = 400


def init() -> list[int]:
    return []


def execute(client_socket: Any, state: list[int], args: dict[str, Any]) -> list[int]:
    if "all" in args:
        respond(client_socket, state)
    elif "wait" in args:
        args["state"] = client_socket.defer()  # never answered
        state.append(-1)
        globals().setdefault("open", []).append(args["state"])
    else:
        state.append(args["number"])
        respond(client_socket, args["number"])
    return state


def leave(client_socket: Any, state: list[int], args: dict[str, Any]) -> None: ...


class Late(TimeoutError):
    """One of a program's own."""


Arm = Callable[[float, type[Exception]], None]


@pytest.fixture
def watchdog() -> Iterator[Arm]:
    """Sets a timer, and what its handler raises."""
    kinds: list[type[Exception]] = [Late]

    def bark(number: int, frame: FrameType | None) -> None:
        if frame is None or not is_entering(frame):  # no library can close that place of 3.14
            raise kinds[0]("too slow")

    def arm(seconds: float, kind: type[Exception]) -> None:
        kinds[0] = kind
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.signal(signal.SIGALRM, bark)
    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def client(start: Callable[..., tuple[Handle, Client]]) -> Client:
    """Of a server that runs these tasks."""
    _, client = start()
    client.initialize(init, execute, leave)
    return client


@pytest.mark.parametrize("timeout", [None, LONG])
@pytest.mark.parametrize(
    "kind", [Late, TimeoutError, BlockingIOError, InterruptedError, ConnectionError]
)
def test_a_watchdog_ends_the_call_that_waits(
    client: Client, watchdog: Arm, kind: type[Exception], timeout: float | None
) -> None:
    """With its own exception, whatever that looks like; the next call is right."""
    client.call({"number": 1})
    watchdog(0.2, kind)
    with pytest.raises(kind, match=r"^too slow$"):
        client.call({"wait": True}, timeout=timeout)
    assert client.call({"number": 2}, timeout=LONG) == 2
    assert client.call({"all": True}, timeout=LONG) == [1, -1, 2]


# The interpreter prints what strikes where a weak reference has its end told.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [Late, BlockingIOError, ConnectionError, ValueError])
def test_no_call_runs_twice_or_is_misreported_when_a_watchdog_strikes_anywhere(
    client: Client, watchdog: Arm, kind: type[Exception]
) -> None:
    """What had left has left; a call either gives its value or raises what the handler raised."""
    chance = random.Random(kind.__name__)
    told: list[int] = []
    for number in range(CALLS):
        try:
            try:
                watchdog(chance.uniform(20e-6, 150e-6), kind)
                assert client.call({"number": number}, timeout=LONG) == number
                told.append(number)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except kind:
            pass
    ran = client.call({"all": True}, timeout=LONG)
    assert len(ran) == len(set(ran))
    assert set(told) <= set(ran)
