"""The bars that bgpy is to meet, and whether one run meets them.

Unless it says otherwise a bar is a ratio of medians, client and server pinned to one core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.harness.results import Results, Spread
from benchmarks.harness.settings import ARRAY_SIZE

MEBIBYTE = 2**20


class Bar(NamedTuple):
    """One bar: what is measured, the limit, and how to read it from a run."""

    figure: str
    limit: float
    at_most: bool
    unit: str
    value: Callable[[Results], float | None]

    def wanted(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g} {self.unit}"

    def measured(self, results: Results) -> str:
        """What the run gives."""
        value = self.value(results)
        return "–" if value is None else f"{value:.3g} {self.unit}"

    def verdict(self, results: Results) -> str:
        """Met, not met, or not measured."""
        value = self.value(results)
        if value is None:
            return "not measured"
        met = value <= self.limit if self.at_most else value >= self.limit
        return "met" if met else "not met"


def _ratio(
    figure: str, base: str, of: str | None = None, name: str = "bgpy"
) -> Callable[[Results], float | None]:
    return lambda results: _median(results.ratio(figure, name, base, of))


def _figure(figure: str, scale: float = 1.0) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        median = _median(results.spread(figure, "bgpy"))
        return None if median is None else median / scale

    return value


def _ping(load: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        seconds = results.percentile(f"ping.pinned.{load}", "bgpy", 0.99)
        return None if seconds is None else 1000 * seconds

    return value


def _above_bare(figure: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        ratio = _median(results.ratio(figure, "bgpy", "bgpy", "program.bare"))
        return None if ratio is None else ratio - 1

    return value


def _peak(results: Results) -> float | None:
    median = _median(results.spread("put.pinned.peak", "bgpy"))
    return None if median is None else max(0.0, (median - ARRAY_SIZE) / MEBIBYTE)


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


_CLIENTS = "100 clients at once, one call after another:"
_PING = "ping, 99th percentile, while"

BARS = [
    Bar(
        "small call, `client.call(args)`, with token",
        2.0,
        True,
        "× raw sockets",
        _ratio("call.pinned.median", "raw"),
    ),
    Bar("the same", 1.0, True, "× managers", _ratio("call.pinned.median", "managers")),
    Bar(
        "CPU time per small call, both sides",
        2.2,
        True,
        "× raw sockets",
        _ratio("call.pinned.cpu", "raw"),
    ),
    Bar(
        "`submit`, pipelined, one client: rate",
        5.0,
        False,
        "× managers one by one",
        _ratio("pipeline.pinned.rate", "managers"),
    ),
    Bar(
        f"{_CLIENTS} total rate",
        0.7,
        False,
        "× one client pipelining",
        _ratio("clients100.pinned.rate", "bgpy", "pipeline.pinned.rate"),
    ),
    Bar(
        f"{_CLIENTS} slowest client",
        0.5,
        False,
        "× the mean",
        _figure("clients100.pinned.slowest"),
    ),
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
        "small call over TLS",
        1.6,
        True,
        "× the same without TLS",
        _ratio("call.pinned.median", "bgpy", name="bgpy_tls"),
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
