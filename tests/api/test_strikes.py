"""A server whose tasks leave a signal handler behind that raises, at random instructions.

It strikes the task thread wherever that is: in a task, in `respond`, while it polls, while
it is idle. Each call ends, in a value or an error; the server stays, and is quick again.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from bgpy import BgpyError, Client, Handle, respond

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no signals to send")

SECONDS = float(os.environ.get("BGPY_STRIKES", "0"))
"""How long the server is struck; too long for each run of the tests."""


class Struck(BaseException):
    """What the handler raises: no `Exception`, so that nothing bears it by chance."""


def init() -> int:
    def strike(number: int, frame: object) -> None:
        raise Struck

    signal.signal(signal.SIGUSR1, strike)
    return 0


def execute(client_socket: Any, state: int, args: dict[str, Any]) -> int:
    if args.get("calm"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    respond(client_socket, b"x" * args["size"])
    return state + 1


def leave(client_socket: Any, state: int, args: dict[str, Any]) -> None:
    respond(client_socket, state)


class Caller:
    """A thread that calls, waiting or not, until it is told to stop; it notes what hung."""

    def __init__(self, handle: Handle, seed: int, over: threading.Event) -> None:
        self.ended = 0
        self.failed = 0
        self.wrong: list[object] = []
        self._handle = handle
        self._random = random.Random(seed)
        self._over = over
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with Client(self._handle.host, self._handle.port, "t" * 32) as client:
            while not self._over.is_set():
                sizes = [self._random.choice((1, 100, 300_000)) for _ in range(20)]
                futures = [client.submit({"size": size}) for size in sizes]
                for size, future in zip(sizes, futures, strict=True):
                    self._end(size, future)

    def _end(self, size: int, future: Future[Any]) -> None:
        try:
            answer = future.result(60)
        except BgpyError:
            self.failed += 1
        except TimeoutError:
            self.wrong.append("a call never ended")
        except BaseException as error:
            if type(error).__name__ != "Struck":
                self.wrong.append(error)
            self.failed += 1
        else:
            if answer != b"x" * size:
                self.wrong.append(len(answer))
        self.ended += 1


@pytest.mark.skipif(not SECONDS, reason="BGPY_STRIKES sets for how many seconds it lasts")
def test_server_bears_exceptions_at_random_instructions(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """No call hangs, none gets what is another's, nothing is left locked or spinning."""
    handle, client = start(token="t" * 32)
    client.initialize(init, execute, leave)
    assert handle.pid is not None
    over = threading.Event()
    callers = [Caller(handle, seed, over) for seed in range(3)]
    until = time.monotonic() + SECONDS
    strikes = 0
    while time.monotonic() < until:
        os.kill(handle.pid, signal.SIGUSR1)
        strikes += 1
        time.sleep(random.uniform(0.0005, 0.004))  # anywhere in its work
    over.set()
    for caller in callers:
        caller.thread.join(120)
        assert not caller.thread.is_alive()
        assert caller.wrong == []
    assert sum(caller.ended for caller in callers) > 100
    with Client(handle.host, handle.port, "t" * 32) as fresh:
        _calm(fresh)
        # Idle: neither a handler of the user's nor what it left ends it or keeps it busy.
        assert [fresh.call({"size": 1}, timeout=60) for _ in range(100)] == [b"x"] * 100
        assert fresh.ping() >= 0
    assert strikes > 100
    client.terminate()
    assert handle.wait(60)


def _calm(client: Client) -> None:
    """Have the server ignore the signal from now on."""
    for _ in range(20):
        try:
            client.call({"size": 1, "calm": True}, timeout=60)
            return
        except BgpyError:
            continue


def test_server_stays_when_a_handler_raises_while_it_is_idle(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """Between calls nobody waits: nothing is lost at all."""
    handle, client = start(token="t" * 32)
    client.initialize(init, execute, leave)
    assert handle.pid is not None
    for _ in range(20):
        os.kill(handle.pid, signal.SIGUSR1)
        time.sleep(0.005)  # so that each strikes by itself
    assert client.call({"size": 1}, timeout=60) == b"x"
    client.terminate()
    assert handle.wait(60)
