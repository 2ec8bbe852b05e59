"""The bars of the siege, and how to read them from its results."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness.results import Results, Spread, single
from benchmarks.report import tables
from benchmarks.report.bars import MEBIBYTE, Bar
from endurance.siege.measures import BGPY


def _sum(*figures: str, scale: float = 1.0) -> Callable[[Results], Spread | None]:
    return _over(sum, figures, scale)


def _max(*figures: str, scale: float = 1.0) -> Callable[[Results], Spread | None]:
    return _over(max, figures, scale)


def _over(
    how: Callable[[list[float]], float], figures: tuple[str, ...], scale: float
) -> Callable[[Results], Spread | None]:
    def value(results: Results) -> Spread | None:
        values = [each for figure in figures for each in results.values(figure, BGPY)]
        return single(max(0.0, how(values) / scale)) if values else None

    return value


def _p99(load: str) -> Callable[[Results], Spread | None]:
    def value(results: Results) -> Spread | None:
        with_them = results.percentile(f"slow.{load}", BGPY, 0.99)
        without = results.percentile(f"calm.{load}", BGPY, 0.99)
        return None if with_them is None or not without else single(with_them / without)

    return value


_SLOW = "slow half-open peers: p99 of an honest client's small call"

BARS = [
    Bar(
        "bytes unpickled before the proof",
        0,
        True,
        "bytes",
        _sum("storm.unpickled", "storm.classes", "stage.unpickled", "bombs"),
    ),
    Bar(
        "meanwhile: crashes, tracebacks, hangs above 1 s",
        0,
        True,
        "of them",
        _sum("storm.failures", "stage.failures"),
    ),
    Bar("the slowest input or ping", 1, True, "s", _max("storm.slowest", "stage.slowest")),
    Bar(
        "growth in that run",
        10,
        True,
        "MiB",
        _max("storm.growth", "stage.growth", scale=MEBIBYTE),
    ),
    Bar(
        "memory per unauthenticated connection, plain",
        8,
        True,
        "KiB",
        _sum("unauthenticated", scale=1024),
    ),
    Bar("of these connections, 6 s later", 0, True, "left", _sum("unauthenticated.left")),
    Bar(f"{_SLOW}, all of them let stay", 3, True, "× without", _p99("all")),
    Bar(f"{_SLOW}, by the default limits", 3, True, "× without", _p99("default")),
    Bar(
        "many calls and connects: growth of descriptors, threads, children",
        0,
        True,
        "more",
        _sum("use.held"),
    ),
    Bar("the same: growth of memory", 2, True, "MiB", _sum("use.memory", scale=MEBIBYTE)),
]
"""Those of a small call and of 64 MiB over TLS come here."""


def table(results: Results) -> tables.Table:
    """The bars, and what the siege gives."""
    return tables.bars("Bars of the siege", BARS, results)


def figures(results: Results) -> tables.Table:
    """What stands behind the bars."""
    millis = [
        (f"{name} small call, {part}, {load}", results.percentile(f"{kind}.{load}", BGPY, share))
        for load in ("all", "default")
        for kind, name in (("calm", "without slow peers:"), ("slow", "with them:"))
        for part, share in (("median", 0.5), ("p99", 0.99))
    ]
    rows = [[name, "–" if value is None else f"{1e3 * value:.3f} ms"] for name, value in millis]
    for figure in ("standing.all", "standing.default", "storm.inputs", "stage.inputs"):
        rows += [[_NAMES[figure], f"{value:,.0f}"] for value in results.values(figure, BGPY)]
    for figure in ("storm.growth", "stage.growth", "use.memory"):
        for value in results.values(figure, BGPY):
            rows.append([_NAMES[figure], f"{value / MEBIBYTE:.2f} MiB"])
    return tables.Table("Figures of the siege", ["figure", "measured"], rows)


def met(results: Results) -> bool:
    """Whether no bar is missed."""
    return all(bar.verdict(results) != "not met" for bar in BARS)


_NAMES = {
    "standing.all": "slow half-open peers at once, at least, all of them let stay",
    "standing.default": "the same, by the default limits",
    "storm.inputs": "hostile inputs over connections of their own",
    "stage.inputs": "hostile inputs into sessions without sockets",
    "storm.growth": "growth of the server over the former",
    "stage.growth": "growth of the process over the latter",
    "use.memory": "growth of the server's own memory in long use",
}
