"""What is measured, in which order.

::

    for each round, with new processes
        for each kind of slice        calls, pipelining, connecting, arrays, clients at once
            for each peer             in another order each round
                one slice, pinned to one core or free
        pings to a busy server, short programs, one after another
    memory of the servers, idle clients
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import process
from benchmarks.harness.bench import Bench, PeerFailed
from benchmarks.harness.results import Results
from benchmarks.harness.settings import Settings
from benchmarks.peers import PEERS

PATIENCE = 90.0
"""Seconds after which a slice counts as hung."""
LOADS = ("sleep", "compute", "row")
Say = Callable[[str], None]


class Slice(NamedTuple):
    """One kind of slice; its figures are named ``NAME.PLACE.WHAT``."""

    name: str
    needs: str
    pinned: bool
    request: dict[str, Any]

    @property
    def place(self) -> str:
        """The middle of its figures' names."""
        return "pinned" if self.pinned else "free"


def slices(settings: Settings) -> list[Slice]:
    """The kinds of slices for all peers, in their order."""
    calls = {"do": "call", "seconds": settings.calls}
    put = {"do": "put", "count": settings.arrays}
    get = {"do": "get", "count": settings.arrays}
    crowds = {
        number: {"do": "clients", "count": number, "seconds": settings.crowd}
        for number in settings.crowds
    }
    most = max(settings.crowds)
    return [
        Slice("call", "call", True, calls),
        Slice("call", "call", False, calls),
        Slice("pipeline", "pipeline", True, {"do": "pipeline", "seconds": settings.calls}),
        Slice("connect", "connect", True, {"do": "connect", "seconds": settings.connects}),
        Slice("put", "put", True, put),
        Slice("get", "get", True, get),
        *(Slice(f"clients{number}", "clients", True, crowds[number]) for number in crowds),
        *(
            [
                Slice("put", "put", False, put),
                Slice("get", "get", False, get),
                Slice(f"clients{most}", "clients", False, crowds[most]),
            ]
            if settings.all_free
            else []
        ),
    ]


class Run:
    """One run over some peers."""

    def __init__(
        self,
        settings: Settings,
        peers: Sequence[str],
        pythons: Mapping[str, str],
        say: Say,
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._pythons = pythons
        self._say = say
        self._cores = sorted(os.sched_getaffinity(0))
        self._benches: dict[str, Bench] = {}
        self.results = Results()

    def run(self) -> Results:
        """Measure everything; whatever fails is noted and left out."""
        try:
            for name in self._peers:
                self._start(name)
            self._fresh_memory()
            for turn in range(self._settings.rounds):
                start = time.monotonic()
                if turn:
                    self._renew()
                self._round(turn)
                self._say(
                    f"round {turn + 1} of {self._settings.rounds}: {time.monotonic() - start:.0f} s"
                )
            self._idle()
        finally:
            for bench in self._benches.values():
                bench.end()
        return self.results

    def _python(self, name: str) -> str:
        return self._pythons.get(name, sys.executable)

    def _start(self, name: str) -> None:
        bench = Bench(name, self._python(name))
        self._benches[name] = bench
        try:
            bench.start(PATIENCE)
        except PeerFailed as error:
            self._drop(name, error)
        else:
            if bench.version:
                self.results.versions[name] = bench.version

    def _renew(self) -> None:
        """Go on with new processes: one pair can be half as fast again as the next for life.

        Where its code and data happen to lie decides, not what it does.
        """
        for name in list(self._benches):
            self._benches.pop(name).end()
            self._start(name)

    def _drop(self, name: str, error: Exception) -> None:
        self._say(f"{PEERS[name].title} failed and is left out from here on: {error}")
        self.results.note(f"{PEERS[name].title} failed during the run and was left out then.")
        self._benches.pop(name).end()

    def _round(self, turn: int) -> None:
        for kind in slices(self._settings):
            order = [name for name in self._peers if kind.needs in PEERS[name].can]
            first = turn % max(1, len(order))
            for name in order[first:] + order[:first]:
                self._slice(turn, name, kind)
        if "bgpy" in self._benches:
            self._pings()
        with self._pinned():
            self._programs(turn)

    def _slice(self, turn: int, name: str, kind: Slice) -> None:
        figures = self._ask(name, kind.pinned, kind.request)
        for what, value in figures.items():
            self.results.add(f"{kind.name}.{kind.place}.{what}", name, turn, value)

    def _ask(self, name: str, pinned: bool, request: dict[str, Any]) -> dict[str, Any]:
        if name not in self._benches:
            return {}
        cores = self._cores[-1:] if pinned else self._cores
        try:
            figures = self._benches[name].measure(cores, PATIENCE, request)
        except PeerFailed as error:
            self._drop(name, error)
            return {}
        if "unsupported" in figures:
            self.results.note(f"{request['do']}: {figures['unsupported']}.")
            return {}
        return figures

    def _pings(self) -> None:
        for load in LOADS:
            for place in ("pinned", "free"):
                request = {"do": "ping", "load": load, "seconds": self._settings.pings}
                answer = self._ask("bgpy", place == "pinned", request)
                self.results.extend(f"ping.{place}.{load}", "bgpy", answer.get("times", []))

    @contextlib.contextmanager
    def _pinned(self) -> Iterator[None]:
        os.sched_setaffinity(0, self._cores[-1:])
        try:
            yield
        finally:
            os.sched_setaffinity(0, self._cores)

    def _programs(self, turn: int) -> None:
        for name, command in self._short().items():
            times = [_seconds(command) for _ in range(self._settings.programs)]
            self.results.add(f"program.{name}", "bgpy", turn, sorted(times)[len(times) // 2])
        for name, (peer, *variant) in self._starts().items():
            command = [self._python(peer), "-m", "benchmarks.harness.startup", peer, *variant]
            try:
                seconds = json.loads(_output(command))["seconds"]
            except (subprocess.SubprocessError, ValueError):
                self.results.note(f"Starting {name} failed.")
                continue
            self.results.add("start", name, turn, seconds)

    def _short(self) -> dict[str, list[str]]:
        python = sys.executable
        return {
            "bare": [python, "-c", "pass"],
            "import": [python, "-c", "import bgpy"],
            "names": [python, "-c", "from bgpy import Client, Server, respond"],
            "version": [str(Path(python).parent / "bgpy"), "version"],
        }

    def _starts(self) -> dict[str, tuple[str, ...]]:
        own: dict[str, dict[str, tuple[str, ...]]] = {
            "bgpy": {"bgpy": ("bgpy",), "bgpy, by value": ("bgpy", "value")},
            "managers": {
                "managers": ("managers", "fork"),
                "managers, spawn": ("managers", "spawn"),
            },
        }
        found: dict[str, tuple[str, ...]] = {}
        for name in self._peers:
            if name in self._benches and "start" in PEERS[name].can:
                found.update(own.get(name, {name: (name,)}))
        return found

    def _fresh_memory(self) -> None:
        """The servers' memory after a few calls, and an idle interpreter's beside it."""
        for name in list(self._benches):
            if "connect" in PEERS[name].can:
                self._ask(name, False, {"do": "connect", "seconds": 0.0})
            if name in self._benches:
                self._memory_of(name, self._benches[name].server_pid)
        command = [sys.executable, "-c", "print(flush=True); input()"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as bare:
            assert bare.stdout is not None
            bare.stdout.readline()
            self._memory_of("bare", bare.pid)

    def _memory_of(self, name: str, pid: int) -> None:
        self.results.add("memory.resident", name, 0, process.memory(pid, "VmRSS"))
        self.results.add("memory.private", name, 0, process.private_memory(pid))

    def _idle(self) -> None:
        """In a server of its own, so that nothing else has touched its memory."""
        if "bgpy" not in self._benches:
            return
        self._benches["bgpy"].end()
        del self._benches["bgpy"]
        self._start("bgpy")
        count = self._settings.idle_clients
        answer = self._ask("bgpy", False, {"do": "idle", "clients": count})
        for value in answer.values():
            self.results.add("idle", "bgpy", 0, value)


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    return time.perf_counter() - start


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    return done.stdout.decode()
