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

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.harness import process, programs
from benchmarks.harness.bench import Bench, PeerFailed
from benchmarks.harness.environments import is_installed
from benchmarks.harness.home import say
from benchmarks.harness.results import Results
from benchmarks.harness.settings import Settings
from benchmarks.peers import PEERS, Peer

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


class Contestant(NamedTuple):
    """Who is measured: a peer, what of it, and variables for its processes beside this one's."""

    peer: str
    what: Collection[str]
    environment: Mapping[str, str] = MappingProxyType({})


class Run:
    """One run of contestants; figures go by the names that they have here.

    Those that are not installed are left out, with a note.
    """

    def __init__(
        self, settings: Settings, contestants: Mapping[str, Contestant], say: Say = say
    ) -> None:
        self._settings = settings
        self._contestants = {
            name: each for name, each in contestants.items() if is_installed(each.peer)
        }
        self._together = [name for name in self._contestants if not self._peer(name).environment]
        self._alone = [name for name in self._contestants if self._peer(name).environment]
        self._failed: set[str] = set()
        self._say = say
        self._cores = sorted(os.sched_getaffinity(0))
        self._benches: dict[str, Bench] = {}
        self.results = Results()
        for name in contestants.keys() - self._contestants.keys():
            title = PEERS[contestants[name].peer].title
            self.results.note(f"{title} is not installed here and was left out.")

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
                contestant = self._contestants[name]
                self._benches[name] = Bench(contestant.peer, contestant.environment)
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
        title = self._peer(name).title if name in PEERS else name
        self._say(f"{title} failed and is left out from here on: {error}")
        self.results.note(f"{title} failed during the run and was left out then.")
        self._failed.add(name)
        self._benches.pop(name).end()

    def _round(self, turn: int) -> None:
        self._start(self._together)
        if turn == 0 and self._settings.memory:
            self._fresh_memory()
        self._slices(turn, self._together)
        if self._settings.pings:
            self._pings()
        for name in self._alone:
            self._start([name])
            self._slices(turn, [name])
        self._end()
        if self._settings.programs:
            self._programs(turn)

    def _slices(self, turn: int, names: Sequence[str]) -> None:
        for kind in slices(self._settings):
            order = self._able(kind.needs, names)
            # Nobody takes turns with one alone.
            turns = kind.turns if len(names) > 1 else 1
            for number in range(turn * kind.turns, turn * kind.turns + turns):
                first = number % max(1, len(order))
                for name in order[first:] + order[:first]:
                    self._slice(number, name, kind)

    def _peer(self, name: str) -> Peer:
        return PEERS[self._contestants[name].peer]

    def _able(self, what: str, names: Iterable[str]) -> list[str]:
        return [name for name in names if what in self._contestants[name].what]

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
        for load, place in itertools.product(LOADS, ("pinned", "free")):
            for name in self._able("ping", self._together):
                request = {"do": "ping", "load": load, "seconds": self._settings.pings}
                answer = self._ask(name, place == "pinned", request)
                self.results.extend(f"ping.{place}.{load}", name, answer.get("times", []))

    def _programs(self, turn: int) -> None:
        starters = self._able("start", self._contestants)
        with programs.pinned(self._cores):
            programs.short(self.results, turn, self._settings.programs)
            programs.starts(self.results, turn, [n for n in starters if n not in self._failed])

    def _fresh_memory(self) -> None:
        """The servers' memory after a few calls, and an idle interpreter's beside it."""
        for name in list(self._benches):
            if "connect" in self._peer(name).can:
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
        for name in self._able("idle", self._contestants) if count else []:
            self._start([name])
            answer = self._ask(name, False, {"do": "idle", "clients": count})
            for value in answer.values():
                self.results.add("idle", name, 0, value)
