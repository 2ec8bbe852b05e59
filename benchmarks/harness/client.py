"""``python -m benchmarks.harness.client NAME``: one peer's client, told what to measure.

Each line on standard input is ``{"do": NAME OF A SLICE, ...}``, each line written its
figures, or ``{"unsupported": REASON}``. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from benchmarks import peers
from benchmarks.harness import busy, crowd, process
from benchmarks.harness.pipes import claim_stdout
from benchmarks.harness.settings import ARRAY_SIZE, BATCH

Figures = dict[str, Any]
ENOUGH = 3
"""Calls that are made however long they take."""


class Client:
    """Measures one peer."""

    def __init__(self, name: str) -> None:
        self._peer = peers.PEERS[name]
        self._module = peers.load(name)
        self._target: dict[str, Any] = {}
        self._array: Any = None

    def answer(self, request: dict[str, Any]) -> Figures:
        """Do what the request says."""
        do: Callable[..., Figures] = getattr(self, f"do_{request.pop('do')}")
        try:
            return do(**request)
        except peers.Unsupported as reason:
            return {"unsupported": str(reason)}

    def do_target(self, target: dict[str, Any]) -> Figures:
        """Take the server's announcement; gives the peer's version."""
        self._target = target
        package = self._peer.package
        return {"version": importlib.metadata.version(package) if package else None}

    def do_call(self, seconds: float) -> Figures:
        """Small calls one after another."""
        with closing(self._connect()) as connection:
            self._calls(connection, seconds / 4)
            before = self._clocks()
            times = self._calls(connection, seconds)
            cpu = [after - start for after, start in zip(self._clocks(), before, strict=True)]
        times.sort()
        return {
            "median": statistics.median(times),
            "p99": times[int(0.99 * (len(times) - 1))],
            "cpu": sum(cpu) / len(times),
        }

    def do_pipeline(self, seconds: float) -> Figures:
        """Small calls, many under way at once."""
        with closing(self._connect()) as connection:
            connection.pipeline(BATCH)
            calls, start = 0, time.perf_counter()
            while time.perf_counter() < start + seconds:
                connection.pipeline(BATCH)
                calls += BATCH
            return {"rate": calls / (time.perf_counter() - start)}

    def do_connect(self, seconds: float) -> Figures:
        """From nothing to the first reply, again and again."""
        times: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < ENOUGH:
            start = time.perf_counter()
            connection = self._connect()
            connection.call({"add": 1})
            times.append(time.perf_counter() - start)
            connection.close()
        return {"median": statistics.median(times)}

    def do_put(self, count: int) -> Figures:
        """The large array to the server; also what the server's memory grew at most."""
        from benchmarks.peers.counter import make_array

        if self._array is None:
            self._array = make_array()
        with closing(self._connect()) as connection:
            connection.put(self._array)
            # The server may have answered before it dropped the array.
            time.sleep(0.05)
            pid = self._target["pid"]
            before = process.memory(pid, "VmRSS")
            process.forget_peak(pid)
            times = [self._timed(connection.put, self._array) for _ in range(count)]
            peak = process.memory(pid, "VmHWM") - before
        return {"rate": ARRAY_SIZE / statistics.median(times), "peak": peak}

    def do_get(self, count: int) -> Figures:
        """The large array from the server."""
        with closing(self._connect()) as connection:
            array = connection.get()
            if array.nbytes != ARRAY_SIZE or array[-1] != array.size - 1:
                raise ValueError("the array that arrived is not the one that was sent")
            del array
            times = [self._timed(connection.get) for _ in range(count)]
        return {"rate": ARRAY_SIZE / statistics.median(times)}

    def do_clients(self, count: int, seconds: float) -> Figures:
        """Clients at once, each a process."""
        shares, server_cpu = crowd.run(self._connect, count, seconds, self._server_clock)
        counts = [share.calls for share in shares]
        return {
            "rate": sum(counts) / seconds,
            "slowest": min(counts) / statistics.mean(counts),
            "cpu": (server_cpu + sum(share.cpu for share in shares)) / sum(counts),
        }

    def do_ping(self, load: str, seconds: float) -> Figures:
        """Pings to a bgpy server that is busy."""
        return {"times": busy.pings(self._module.connect, self._target, load, seconds)}

    def do_idle(self, clients: int) -> Figures:
        """Memory of a bgpy server per client that is connected and silent."""
        return {"memory": busy.idle(self._module.connect, self._target, clients)}

    def _connect(self) -> Any:
        return self._module.Connection(self._target)

    def _calls(self, connection: peers.Connection, seconds: float) -> list[float]:
        call, clock = connection.call, time.perf_counter
        times: list[float] = []
        now = clock()
        end = now + seconds
        while now < end or len(times) < ENOUGH:
            start = now
            call({"add": 1})
            now = clock()
            times.append(now - start)
        return times

    def _clocks(self) -> tuple[float, float]:
        return time.process_time(), self._server_clock()

    def _server_clock(self) -> float:
        return process.cpu_seconds(self._target["pid"])

    def _timed(self, function: Callable[..., Any], *args: Any) -> float:
        start = time.perf_counter()
        function(*args)
        return time.perf_counter() - start


def main() -> None:
    """Answer until standard input ends."""
    tell = claim_stdout()
    client = Client(sys.argv[1])
    for line in sys.stdin:
        tell(client.answer(json.loads(line)))


if __name__ == "__main__":
    main()
