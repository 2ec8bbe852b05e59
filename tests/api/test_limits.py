"""Odd time limits and log levels, and a log that is kept near its size."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpy import CallTimeout, Client, Handle, Limits
from tests.support.tasks.counting import TASKS


def shout(state: Any) -> None:
    print("x" * 1000)


@pytest.mark.parametrize("timeout", [math.inf, 1e10, 10**30, 3])
def test_timeout_is_no_limit_when_longer_than_any_clock(client: Client, timeout: float) -> None:
    """However large, a number of seconds is taken."""
    assert client.call({"run": len_of_nothing}, timeout=timeout) == 0


def len_of_nothing(state: Any) -> int:
    return len("")


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(-1, ValueError), (math.nan, ValueError), ("a", TypeError), (True, TypeError)],
)
def test_timeout_is_refused_when_it_is_no_time(
    client: Client, timeout: Any, error: type[Exception]
) -> None:
    """Nothing is sent with a time limit that means nothing, and the client goes on."""
    with pytest.raises(error, match="timeout must be"):
        client.call({"run": len_of_nothing}, timeout=timeout)
    with pytest.raises(error, match="timeout must be"):
        Client("127.0.0.1", client.port, timeout=timeout)
    assert client.call({"run": len_of_nothing}) == 0


def test_timeout_covers_connecting_when_the_client_is_new(
    running: tuple[Handle, Client],
) -> None:
    """A server that is stopped costs a new client its call's time, not its time to connect."""
    import psutil

    handle, client = running
    process = psutil.Process(handle.pid)
    process.suspend()
    try:
        end = time.monotonic() + 60
        while process.status() != psutil.STATUS_STOPPED and time.monotonic() < end:
            pass
        late = Client("127.0.0.1", handle.port, connect_timeout=3600.0)
        with pytest.raises(CallTimeout) as caught:
            late.call({"run": len_of_nothing}, timeout=0.1)
        assert caught.value.progress == "not started"
    finally:
        process.resume()
    assert client.call({"run": len_of_nothing}) == 0


def test_client_takes_log_levels_in_either_case() -> None:
    """As a server does; what is no level is refused by name."""
    Client("127.0.0.1", 1, log_level="info")
    with pytest.raises(ValueError, match="log_level must be one of"):
        Client("127.0.0.1", 1, log_level="loud")


def test_log_is_rotated_when_a_server_prints_more_than_its_size(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """What was printed goes on to the older file, and the log begins anew."""
    handle, client = start(limits=Limits(log_size=20_000))
    client.initialize(*TASKS)
    assert handle.log_file is not None
    older = Path(f"{handle.log_file}.1")
    end = time.monotonic() + 60
    while not older.exists() and time.monotonic() < end:
        client.call({"run": shout})
    # One look a second, so the older file holds more than the size; no line is torn.
    lines = older.read_text("utf-8").splitlines()
    assert sum(line == "x" * 1000 for line in lines) >= 19
    assert os.path.getsize(handle.log_file) < older.stat().st_size
