"""The bars that bgpy is to meet, and whether one run meets them.

Unless it says otherwise a bar is a ratio of medians, client and server pinned to one core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.harness.results import Results, Spread, single
from benchmarks.harness.settings import ARRAY_SIZE

MEBIBYTE = 2**20
NOTHING = "–"
"""The cell of what was not measured."""


class Bar(NamedTuple):
    """One bar: what is measured, the limit, and how to read it from a run."""

    figure: str
    limit: float
    at_most: bool
    unit: str
    value: Callable[[Results], Spread | None]
    """Its median is what counts."""

    def wanted(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g} {self.unit}"

    def cells(self, results: Results) -> tuple[str, str, str]:
        """What the run gives, the lowest to the highest if there are several, and `verdict`."""
        value = self.value(results)
        if value is None:
            return NOTHING, NOTHING, self.verdict(results)
        several = value.low != value.high
        spread = f"{value.low:.3g} to {value.high:.3g}" if several else NOTHING
        return f"{value.median:.3g} {self.unit}", spread, self.verdict(results)

    def verdict(self, results: Results) -> str:
        """Met, not met, or not measured."""
        value = self.value(results)
        if value is None:
            return "not measured"
        met = value.median <= self.limit if self.at_most else value.median >= self.limit
        return "met" if met else "not met"


def _ratio(
    figure: str, base: str, of: str | None = None, name: str = "bgpy"
) -> Callable[[Results], Spread | None]:
    return lambda results: results.ratio(figure, name, base, of)


def _figure(figure: str, scale: float = 1.0) -> Callable[[Results], Spread | None]:
    return lambda results: _each(results.spread(figure, "bgpy"), lambda value: value / scale)


def _ping(load: str) -> Callable[[Results], Spread | None]:
    def value(results: Results) -> Spread | None:
        seconds = results.percentile(f"ping.pinned.{load}", "bgpy", 0.99)
        return None if seconds is None else single(1000 * seconds)

    return value


def _above_bare(figure: str) -> Callable[[Results], Spread | None]:
    def value(results: Results) -> Spread | None:
        ratio = results.ratio(figure, "bgpy", "bgpy", "program.bare")
        return _each(ratio, lambda times: times - 1)

    return value


def _peak(results: Results) -> Spread | None:
    peak = results.spread("put.pinned.peak", "bgpy")
    return _each(peak, lambda size: max(0.0, (size - ARRAY_SIZE) / MEBIBYTE))


def _each(spread: Spread | None, change: Callable[[float], float]) -> Spread | None:
    return None if spread is None else Spread(*map(change, spread))


_CLIENTS = "100 clients at once, one call after another:"
_PING = "ping, 99th percentile, while"

ROAD = [
    Bar(
        "small call, `client.call(args)`, with token, over TCP",
        2.0,
        True,
        "× raw sockets",
        _ratio("call.pinned.median", "raw"),
    ),
    Bar("the same", 0.85, True, "× managers", _ratio("call.pinned.median", "managers")),
    Bar(
        "the same over a Unix socket",
        1.5,
        True,
        "× raw sockets over TCP",
        _ratio("call.pinned.median", "raw", name="bgpy_unix"),
    ),
    Bar(
        "CPU time per small call over TCP, both sides",
        2.1,
        True,
        "× raw sockets",
        _ratio("call.pinned.cpu", "raw"),
    ),
    Bar(
        "`submit`, pipelined, one client: rate",
        4.5,
        False,
        "× managers one by one",
        _ratio("pipeline.pinned.rate", "managers"),
    ),
    Bar(
        f"{_CLIENTS} total rate",
        1.3,
        False,
        "× managers",
        _ratio("clients100.pinned.rate", "managers"),
    ),
    Bar(
        f"{_CLIENTS} slowest client",
        0.5,
        False,
        "× the mean",
        _figure("clients100.pinned.slowest"),
    ),
    Bar(
        "small call over TLS",
        1.9,
        True,
        "× `ssl` sockets",
        _ratio("call.pinned.median", "raw_tls", name="bgpy_tls"),
    ),
]
"""The road of a small call."""

OTHERS = [
    Bar(
        "64 MiB array to the server: speed",
        0.7,
        False,
        "× raw sockets",
        _ratio("put.pinned.rate", "raw"),
    ),
    Bar("the same", 3.0, False, "× multiprocessing", _ratio("put.pinned.rate", "connection")),
    Bar("the server's peak memory meanwhile, above the array", 10.0, True, "MiB", _peak),
    Bar(f"{_PING} a task sleeps", 5.0, True, "ms", _ping("sleep")),
    Bar(f"{_PING} a task computes in Python", 30.0, True, "ms", _ping("compute")),
    Bar(f"{_PING} a row of tasks of 4 ms runs", 15.0, True, "ms", _ping("row")),
    Bar(
        "`run_background()` to first reply, tasks by reference",
        8.0,
        True,
        "× `python -c pass`",
        _ratio("start", "bgpy", "program.bare"),
    ),
    Bar(
        "`import bgpy`, above a bare interpreter",
        2.5,
        True,
        "× `python -c pass`",
        _above_bare("program.import"),
    ),
    Bar(
        "`from bgpy import Client, Server, respond`, likewise",
        2.5,
        True,
        "× `python -c pass`",
        _above_bare("program.names"),
    ),
    Bar(
        "64 MiB array to the server over TLS: speed",
        0.5,
        False,
        "× ssl sockets",
        _ratio("put.pinned.rate", "raw_tls", name="bgpy_tls"),
    ),
    Bar("idle authenticated client: the server's memory", 4.0, True, "KiB", _figure("idle", 1024)),
]
"""Arrays, answers of a busy server, starting, memory."""
