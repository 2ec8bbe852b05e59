"""What is measured, in which order.

::

    for each round, with new processes
        for each kind of slice        calls, pipelining, connecting, arrays, clients at once
            for each turn             several of calls and pipelining
                for each peer         in another order each time
                    one slice, pinned to one core or free
        pings to a busy server, short programs, one after another
        for each peer with an environment of its own
            its processes started, its slices, its processes ended
    idle clients
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import process
from benchmarks.harness.bench import Bench, PeerFailed
from benchmarks.harness.environments import is_installed, python
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
    turns: int = 1
    """How often it is measured in a round."""

    @property
    def place(self) -> str:
        """The middle of its figures' names."""
        return "pinned" if self.pinned else "free"


def slices(settings: Settings) -> list[Slice]:
    """The kinds of slices for all peers, in their order; none of length 0."""
    calls = {"do": "call", "seconds": settings.calls}
    pipeline = {"do": "pipeline", "seconds": settings.calls}
    turns = settings.turns
    put = {"do": "put", "count": settings.arrays}
    get = {"do": "get", "count": settings.arrays}
    crowds = {
        number: {"do": "clients", "count": number, "seconds": settings.crowd}
        for number in settings.crowds
    }
    most = max(settings.crowds, default=0)
    found = [
        Slice("call", "call", True, calls, turns),
        *([] if settings.pinned_only else [Slice("call", "call", False, calls, turns)]),
        Slice("pipeline", "pipeline", True, pipeline, turns),
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
    return [each for each in found if all(each.request.values())]


class Run:
    """One run: `wanted` has the peers' names, and for each what is measured of it.

    Peers that are not installed are left out, with a note.
    """

    def __init__(
        self,
        settings: Settings,
        wanted: Mapping[str, Collection[str]],
        say: Say,
    ) -> None:
        self._settings = settings
        self._wanted = {name: what for name, what in wanted.items() if is_installed(name)}
        self._together = [name for name in self._wanted if not PEERS[name].environment]
        self._alone = [name for name in self._wanted if PEERS[name].environment]
        self._failed: set[str] = set()
        self._say = say
        self._cores = sorted(os.sched_getaffinity(0))
        self._benches: dict[str, Bench] = {}
        self.results = Results()
        for name in wanted.keys() - self._wanted.keys():
            self.results.note(f"{PEERS[name].title} is not installed here and was left out.")

    def run(self) -> Results:
        """Measure everything; whatever fails is noted and left out."""
        try:
            for turn in range(self._settings.rounds):
                start = time.monotonic()
                self._round(turn)
                self._say(
                    f"round {turn + 1} of {self._settings.rounds}: {time.monotonic() - start:.0f} s"
                )
            self._idle()
        finally:
            self._end()
        return self.results

    def _start(self, names: Sequence[str]) -> None:
        """Go on with new processes: one pair can be half as fast again as the next for life.

        Where its code and data happen to lie decides, not what it does.
        """
        self._end()
        for name in names:
            if name not in self._failed:
                self._benches[name] = Bench(name, python(name))
        for name, bench in list(self._benches.items()):
            try:
                bench.start(PATIENCE)
            except PeerFailed as error:
                self._drop(name, error)
            else:
                if bench.version:
                    self.results.versions[name] = bench.version

    def _end(self) -> None:
        while self._benches:
            self._benches.popitem()[1].end()

    def _drop(self, name: str, error: Exception) -> None:
        self._say(f"{PEERS[name].title} failed and is left out from here on: {error}")
        self.results.note(f"{PEERS[name].title} failed during the run and was left out then.")
        self._failed.add(name)
        self._benches.pop(name).end()

    def _round(self, turn: int) -> None:
        self._start(self._together)
        if turn == 0 and self._settings.memory:
            self._fresh_memory()
        self._slices(turn, self._together)
        if self._settings.pings and "bgpy" in self._benches:
            self._pings()
        for name in self._alone:
            self._start([name])
            self._slices(turn, [name])
        self._end()
        if self._settings.programs:
            with self._pinned():
                self._programs(turn)

    def _slices(self, turn: int, names: Sequence[str]) -> None:
        for kind in slices(self._settings):
            order = [name for name in names if kind.needs in self._wanted[name]]
            # Nobody takes turns with one alone.
            turns = kind.turns if len(names) > 1 else 1
            for number in range(turn * kind.turns, turn * kind.turns + turns):
                first = number % max(1, len(order))
                for name in order[first:] + order[:first]:
                    self._slice(number, name, kind)

    def _slice(self, number: int, name: str, kind: Slice) -> None:
        figures = self._ask(name, kind.pinned, kind.request)
        for what, value in figures.items():
            self.results.add(f"{kind.name}.{kind.place}.{what}", name, number, value)

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
            command = [python(peer), "-m", "benchmarks.harness.startup", peer, *variant]
            try:
                seconds = json.loads(_output(command))["seconds"]
            except (subprocess.SubprocessError, ValueError):
                self.results.note(f"Starting {name} failed.")
                continue
            self.results.add("start", name, turn, seconds)

    def _short(self) -> dict[str, list[str]]:
        own = sys.executable
        return {
            "bare": [own, "-c", "pass"],
            "import": [own, "-c", "import bgpy"],
            "names": [own, "-c", "from bgpy import Client, Server, respond"],
            "version": [str(Path(own).parent / "bgpy"), "version"],
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
        for name, what in self._wanted.items():
            if name not in self._failed and "start" in what:
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
        count = self._settings.idle_clients
        if not count or "bgpy" not in self._wanted:
            return
        self._start(["bgpy"])
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
