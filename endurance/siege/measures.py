"""What is measured, one function each; all write their figures into the same results."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

from benchmarks.harness.home import say
from benchmarks.harness.process import private_memory
from benchmarks.harness.results import Results
from bgpy import Client, Handle, Limits, Server
from bgpy.codec.payload import encode
from endurance.siege import guarded, onstage
from endurance.siege.inputs import inputs, recorded
from endurance.siege.slow import HELLO
from endurance.siege.storm import storm

BGPY = "bgpy"
SEED = 20260101
TOKEN = "of-the-siege-and-long-enough-not-to-be-stretched"
OWN = len(encode({"counts": 1}, "args")[0])
"""Bytes of the one call that asks for the count, which the server unpickles too."""
GONE = 6.0
"""Seconds after which nothing is left of peers that proved nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long a siege is."""

    over_sockets: int
    on_stage: int
    strangers: int
    slow_peers: int
    rounds: int
    seconds: float
    """Of honest calls, without and with slow peers, per round."""
    calls: int
    connects: int


FULL = Settings(100_000, 900_000, 5_000, 2_000, 5, 3.0, 200_000, 5_000)
QUICK = Settings(5_000, 15_000, 900, 300, 2, 1.0, 5_000, 200)


@contextmanager
def served(**limits: float) -> Iterator[Handle]:
    """A background server with the tasks of `guarded`, killed at the end."""
    made = Limits(**limits)  # type: ignore[arg-type]
    handle = Server("127.0.0.1", 0, TOKEN, init_file=guarded.__file__, limits=made).run_background()
    try:
        yield handle
    finally:
        handle.kill()


def client(handle: Handle) -> Client:
    """A client of it, on which nothing waits for ever."""
    return Client("127.0.0.1", handle.port, TOKEN, timeout=60.0)


def hostile_inputs(results: Results, settings: Settings, mark: Path) -> None:
    """Inputs before any proof, over sockets and on stage; bombs among them make `mark`."""
    with served() as handle, client(handle) as honest:
        stream = inputs(recorded(handle.port, TOKEN), str(mark), SEED)
        storm(handle.port, islice(stream, settings.over_sockets // 10))
        before, memory = honest.call({"counts": 1}), _resident(handle)
        with Pings(handle) as pings:
            weather = storm(handle.port, islice(stream, settings.over_sockets))
        after = honest.call({"counts": 1})
        growth = _resident(handle) - memory
        log = Path(handle.log_file or "").read_text(errors="replace")
        # The one honest call is counted too: if it weren't, that would show here.
        results.add("storm.inputs", BGPY, 0, weather.inputs)
        counted = after["bytes"] - before["bytes"] - OWN
        results.add("storm.unpickled", BGPY, 0, abs(counted))
        results.add("storm.classes", BGPY, 0, after["classes"] - before["classes"])
        results.add("storm.slowest", BGPY, 0, max(weather.slowest, pings.slowest))
        crashes = log.count("Traceback") + (not handle.is_alive()) + weather.refused
        results.add("storm.failures", BGPY, 0, weather.hung + crashes + pings.failed)
        results.add("storm.growth", BGPY, 0, growth)
    say(f"over sockets: {weather}")
    stream = inputs(recorded_of_stage(), str(mark), SEED + 1)
    play = onstage.play(stream, settings.on_stage)
    say(f"on stage: {play}")
    results.add("stage.inputs", BGPY, 0, play.inputs)
    results.add("stage.unpickled", BGPY, 0, play.unpickled)
    results.add("stage.slowest", BGPY, 0, play.slowest)
    results.add("stage.failures", BGPY, 0, play.failures)
    results.add("stage.growth", BGPY, 0, play.growth)
    results.add("bombs", BGPY, 0, float(mark.exists()))


def recorded_of_stage() -> bytes:
    """An honest handshake with a server on stage, worth nothing under another nonce."""
    from fuzz import stage

    hello = stage.client_handshake()
    answer = stage.server_handshake().receive(hello.hello())
    return hello.hello() + hello.receive(answer)


class Pings:
    """Pings the server all the time, from a thread of its own; which waited longest."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.slowest = 0.0
        self.failed = 0

    def __enter__(self) -> Pings:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with client(self._handle) as honest:
            while not self._over.wait(0.02):
                try:
                    self.slowest = max(self.slowest, honest.ping())
                except Exception:
                    self.failed += 1


def unauthenticated(results: Results, settings: Settings, mark: Path) -> None:
    """What a connection costs that proves nothing, silent or with its hello said."""
    count = settings.strangers
    with served(max_half_open=count + 10) as handle, client(handle) as honest:
        _crowd(handle, honest, 20)  # which makes what is kept for all that come later
        held = _crowd(handle, honest, count)
        results.add("unauthenticated", BGPY, 0, held / count)
        results.add("unauthenticated.left", BGPY, 0, _connections(handle))


def _crowd(handle: Handle, honest: Client, count: int) -> int:
    """Bytes that `count` strangers take; returns `GONE` seconds after the last of them came."""
    before = private_memory(handle.pid)
    with ExitStack() as stack:
        for number in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", handle.port)))
            if number % 2:
                sock.sendall(HELLO)
        honest.ping()
        held = private_memory(handle.pid) - before
        _wait_until_gone(handle, GONE)
    return held


def _wait_until_gone(handle: Handle, seconds: float) -> None:
    """Give the server its time to close what proved nothing; sleeping is the measurement."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and _connections(handle):
        time.sleep(0.1)


def _connections(handle: Handle) -> int:
    """Connections to the server that it has not closed, less that of the one honest client."""
    with open(f"/proc/{handle.pid}/net/tcp") as table:
        port = f":{handle.port:04X}"
        rows = [line.split() for line in list(table)[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows) - 1


def slow_peers(results: Results, settings: Settings, mark: Path) -> None:
    """An honest client's calls, without and with peers that never finish their handshake."""
    # Some have been dropped and don't know it yet.
    peers = settings.slow_peers * 9 // 8
    for figure, most in (("all", peers + 100), ("default", Limits().max_half_open)):
        with served(max_half_open=most) as handle, client(handle) as honest:
            _calls(honest, 0.5)
            calm: list[float] = []
            slow: list[float] = []
            standing: list[int] = []
            for _ in range(settings.rounds):
                calm += _calls(honest, settings.seconds)
                with _slow(handle, peers):
                    slow += _calls(honest, settings.seconds)
                    standing.append(_connections(handle))
            results.extend(f"calm.{figure}", BGPY, _quantiles(calm))
            results.extend(f"slow.{figure}", BGPY, _quantiles(slow))
            results.add(f"standing.{figure}", BGPY, 0, min(standing))


def _quantiles(samples: list[float]) -> list[float]:
    """A thousand of them at even distances, lowest first: all that the percentiles need."""
    samples.sort()
    return [samples[place * (len(samples) - 1) // 1000] for place in range(1001)]


@contextmanager
def _slow(handle: Handle, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "endurance.siege.slow", str(handle.port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def _calls(honest: Client, seconds: float) -> list[float]:
    samples = []
    clock, end = time.perf_counter, time.perf_counter() + seconds
    now = clock()
    while now < end:
        honest.call({"add": 1})
        now, before = clock(), now
        samples.append(now - before)
    return samples


def long_use(results: Results, settings: Settings, mark: Path) -> None:
    """What a server holds after many calls and connects that it did not hold before."""
    with served() as handle, client(handle) as honest:
        _use(handle, honest, settings.calls // 10, settings.connects // 5)
        before, memory = _held(handle), private_memory(handle.pid)
        _use(handle, honest, settings.calls, settings.connects)
        after = _held(handle)
        results.add("use.held", BGPY, 0, sum(after) - sum(before))
        results.add("use.memory", BGPY, 0, private_memory(handle.pid) - memory)


def _use(handle: Handle, honest: Client, calls: int, connects: int) -> None:
    for _ in range(calls):
        honest.call({"add": 1})
    for _ in range(connects):
        with client(handle) as each:
            each.ping()
    while _connections(handle) > 0:
        time.sleep(0.01)
    honest.ping()


def _held(handle: Handle) -> tuple[int, int, int]:
    process = psutil.Process(handle.pid)
    return process.num_fds(), process.num_threads(), len(process.children())


def _resident(handle: Handle) -> int:
    return int(psutil.Process(handle.pid).memory_info().rss)


MEASURES = [hostile_inputs, unauthenticated, slow_peers, long_use]
"""In their order. The small call and the 64 MiB over TLS come here."""


def run(settings: Settings) -> Results:
    """Measure everything."""
    results = Results()
    mark = Path(os.environ["BGPY_HOME"]) / "a-bomb-went-off"
    for measure in MEASURES:
        start = time.monotonic()
        measure(results, settings, mark)
        say(f"{measure.__name__}: {time.monotonic() - start:.0f} s")
    return results
