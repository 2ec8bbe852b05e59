"""What bgpy alone is asked: pings while the server is busy, and what idle clients cost it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness.process import private_memory

SHORT = 0.004
"""Seconds of one task of the row of short ones."""
GAP = 0.01
"""The longest wait between two pings, in seconds: they come at no particular moment."""

Connect = Callable[[dict[str, Any]], Any]


def pings(connect: Connect, target: dict[str, Any], load: str, seconds: float) -> list[float]:
    """Seconds of each ping, by one client, while another keeps the server busy with `load`."""
    chance = random.Random(load)
    times = []
    with connect(target) as busy, connect(target) as client:
        client.ping()
        for args in _requests(load, seconds):
            busy.execute(args)
        end = time.perf_counter() + 0.9 * seconds
        while time.perf_counter() < end:
            time.sleep(chance.uniform(0.0, GAP))
            times.append(client.ping())
        busy.call({"add": 0})
    return times


def _requests(load: str, seconds: float) -> list[dict[str, Any]]:
    if load == "row":
        return [{"do": "compute", "seconds": SHORT}] * int(seconds / SHORT)
    return [{"do": load, "seconds": seconds}]


def idle(connect: Connect, target: dict[str, Any], count: int) -> float:
    """Bytes of the server's own memory per client that proved the token and is silent."""
    clients: list[Any] = []
    before = 0
    try:
        for _ in range(count + 1):
            client = connect(target)
            client.ping()
            if not clients:
                before = private_memory(target["pid"])
            clients.append(client)
        return (private_memory(target["pid"]) - before) / count
    finally:
        for client in clients:
            client.close()
