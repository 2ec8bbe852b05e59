"""Every wait keeps its own deadline, whoever else waits or connects, and says what it knows."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import psutil
import pytest

from bgpy import BgpyError, CallTimeout, Client, Handle, NotRunning
from tests.support.gate import Gate
from tests.support.peers import wait_until
from tests.support.tasks.counting import TASKS, count

TOKEN = "t" * 32
SHORT = 0.3
MUCH = 5.0
"""Seconds that no wait with a short deadline takes, on a machine however loaded."""


@contextmanager
def stopped(handle: Handle) -> Iterator[None]:
    """A server whose process doesn't run."""
    process = psutil.Process(handle.pid)
    process.suspend()
    try:
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it has stopped")
        yield
    finally:
        process.resume()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


WAITS: dict[str, Callable[[Client], object]] = {
    "call": lambda client: client.call({"run": count}, timeout=SHORT),
    "execute": lambda client: client.execute({"run": count}, timeout=SHORT),
    "ping": lambda client: client.ping(timeout=SHORT),
    "submit": lambda client: client.submit({"run": count}, timeout=SHORT).result(),
    "initialize": lambda client: client.initialize(*TASKS, timeout=SHORT),
    "terminate": lambda client: client.terminate(timeout=SHORT),
}


def taken(wait: Callable[[Client], object], client: Client) -> tuple[float, CallTimeout]:
    """How long it took, and what it raised."""
    begin = monotonic()
    with pytest.raises(CallTimeout) as caught:
        wait(client)
    return monotonic() - begin, caught.value


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("connected", [True, False])
def test_wait_ends_at_its_deadline_when_the_server_is_stopped(
    start: Callable[..., tuple[Handle, Client]], wait: Callable[[Client], object], connected: bool
) -> None:
    """Asking how far the call came adds a moment only; without a connection nothing was sent."""
    handle, client = start(token=TOKEN)
    client.initialize(*TASKS)
    if not connected:
        client.close()
    with stopped(handle):
        seconds, error = taken(wait, client)
    client.close()
    assert seconds < MUCH
    assert error.progress == ("unknown" if connected else "not started")


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_wait_ends_at_its_deadline_when_others_connect_to_what_never_answers(
    black_hole: int, wait: Callable[[Client], object]
) -> None:
    """One connects for all; each waits for that as long as it may, and no longer."""
    client = Client("127.0.0.1", black_hole, TOKEN, connect_timeout=2 * MUCH)

    def connect() -> None:
        with pytest.raises(BgpyError):
            client.ping(timeout=2 * SHORT)

    others = [threading.Thread(target=connect) for _ in range(3)]
    for other in others:
        other.start()
    seconds, error = taken(wait, client)
    assert seconds < MUCH
    assert error.progress == "not started"
    for other in others:
        other.join()
    client.close()


def test_submit_returns_at_once_when_there_is_no_connection_yet(black_hole: int) -> None:
    """Connecting is done in the background, and what comes of it ends the future."""
    client = Client("127.0.0.1", black_hole, TOKEN, connect_timeout=5 * SHORT)
    begin = monotonic()
    futures = [client.submit({}) for _ in range(3)]
    assert monotonic() - begin < 5 * SHORT
    for future in futures:
        with pytest.raises(BgpyError, match="did not answer"):
            future.result(MUCH)


def test_those_that_wait_for_one_connection_all_hear_why_there_is_none(free_port: int) -> None:
    """Each gets an error of its own."""
    client = Client("127.0.0.1", free_port, TOKEN)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            client.call({})
        except NotRunning as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(error) for error in errors}) == 4


@pytest.mark.usefixtures("asks_long")
@pytest.mark.parametrize("timeout", [SHORT, 2 * SHORT])
def test_future_says_how_far_its_call_came_when_its_time_is_over(
    start: Callable[..., tuple[Handle, Client]], gate: Gate, timeout: float
) -> None:
    """The one that runs has started; the one behind it was withdrawn, and never runs."""
    _, client = start()
    client.initialize(*TASKS)
    runs = client.submit({"run": gate.passing()}, timeout=timeout)
    gate.wait()
    waits = client.submit({"run": count}, timeout=timeout)
    progress = []
    for future in (runs, waits):
        with pytest.raises(CallTimeout) as caught:
            future.result(MUCH)
        progress.append(caught.value.progress)
    assert progress == ["started", "not started"]
    gate.open()
    assert client.call({"run": count}) == 1


def test_no_receipt_is_given_for_what_will_not_run(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """A stopped server has the request and the withdrawal at once: one of them is true."""
    handle, client = start()
    client.initialize(*TASKS)
    told = 0
    for _ in range(3):
        with stopped(handle):
            timer = threading.Timer(SHORT + 0.1, psutil.Process(handle.pid).resume)
            timer.start()
            try:
                client.execute({"run": count}, timeout=SHORT)
                told += 1
            except CallTimeout as error:
                told += error.progress == "started"
                ran_anyway = error.progress == "unknown"
            else:
                ran_anyway = False
            timer.join()
        ran = client.call({"run": count}) - told
        assert ran >= 0
        assert ran == 0 or ran_anyway
        told = client.call({"run": count}) + 1


def test_time_limit_is_told_as_it_was_given(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """Not what was left of it when the last step began."""
    handle, client = start(token=TOKEN)
    client.ping()
    with stopped(handle):
        _, error = taken(WAITS["ping"], client)
    client.close()
    assert f"within {SHORT} s" in str(error)
