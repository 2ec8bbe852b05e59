"""Tables of figures, as plain text and as Markdown."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.harness.results import Results, Spread
from benchmarks.harness.settings import ARRAY_SIZE
from benchmarks.peers import PEERS
from benchmarks.report.bars import MEBIBYTE, NOTHING, OTHERS, ROAD, Bar

_STARTS = {
    "bgpy": "bgpy, tasks by reference",
    "bgpy, by value": "bgpy, tasks by value",
    "managers": "multiprocessing.managers, forked",
    "managers, spawn": "multiprocessing.managers, spawned",
}
_LOADS = {
    "sleep": "while a task sleeps",
    "compute": "while a task computes in Python",
    "row": "behind a row of tasks of 4 ms",
}


class Table(NamedTuple):
    """A title, a header and rows of cells; the first column is left-aligned."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        """For a terminal."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        return "\n".join(
            [
                self.title,
                *(
                    "  ".join(
                        cell.rjust(width) if column else cell.ljust(width)
                        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
                    ).rstrip()
                    for line in lines
                ),
            ]
        )

    def markdown(self) -> str:
        """For a page."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        body = "\n".join(f"| {' | '.join(line)} |" for line in [self.header, rule, *self.rows])
        return f"### {self.title}\n\n{body}"


def road_bars(results: Results) -> Table:
    """The bars of a small call, and what the run gives."""
    return bars("The road of a small call", ROAD, results)


def other_bars(results: Results) -> Table:
    """The rest of them."""
    return bars("Arrays, busy servers, starting, memory", OTHERS, results)


def bars(title: str, held: list[Bar], results: Results) -> Table:
    """Bars, and what the run gives; no column of spreads where none has any."""
    rows = [[bar.figure, bar.wanted(), *bar.cells(results)] for bar in held]
    header = ["figure", "bar", "measured", "lowest to highest", "verdict"]
    if all(row[3] == NOTHING for row in rows):
        rows = [row[:3] + row[4:] for row in rows]
        header = header[:3] + header[4:]
    return Table(title, header, rows)


def tables(results: Results) -> list[Table]:
    """All tables of a run, in the order of the report; empty ones are left out."""
    found = [
        calls(results, "pinned"),
        calls(results, "free"),
        _pipelining(results),
        _crowds(results),
        _crowds_free(results),
        _connecting(results),
        _arrays(results, "pinned"),
        _arrays(results, "free"),
        _starting(results),
        _programs(results),
        _memory(results),
        _pings(results),
    ]
    return [table for table in found if table.rows]


def calls(results: Results, place: str) -> Table:
    """Small calls, client and server on one core or free to use all."""
    figure = f"call.{place}"
    rows = [
        [
            PEERS[name].title,
            *_spread(results.spread(f"{figure}.median", name), 1e6),
            _times(results.ratio(f"{figure}.median", name, "raw")),
            _number(_median(results.spread(f"{figure}.p99", name)), 1e6),
            _number(_median(results.spread(f"{figure}.cpu", name)), 1e6),
            _times(results.ratio(f"{figure}.cpu", name, "raw")),
        ]
        for name in results.figures.get(f"{figure}.median", {})
    ]
    where = "client and server on one core" if place == "pinned" else "free to use all cores"
    header = ["µs", "median", "lowest to highest", "× raw", "p99", "CPU, both sides", "× raw"]
    return Table(f"One small dict there and back, {where}", header, rows)


def _pipelining(results: Results) -> Table:
    figure = "pipeline.pinned.rate"
    rows = [
        [
            PEERS[name].title + (", one by one" if name.startswith("managers") else ""),
            *_spread(results.spread(figure, name)),
            _times(results.ratio(figure, name, "managers")),
        ]
        for name in results.figures.get(figure, {})
    ]
    title = "Small calls, 500 under way at once, on one core"
    return Table(title, ["calls per second", "median", "lowest to highest", "× managers"], rows)


def _crowds(results: Results) -> Table:
    pinned = [name for name in results.figures if name.endswith(".pinned.rate")]
    numbers = sorted(int(name[7:-12]) for name in pinned if name.startswith("clients"))
    if not numbers:
        return Table("", [], [])
    most = f"clients{numbers[-1]}"
    rows = [
        [
            PEERS[name].title,
            *(
                _number(_median(results.spread(f"clients{number}.pinned.rate", name)))
                for number in numbers
            ),
            _times(results.ratio(f"{most}.pinned.rate", name, "managers")),
            _times(results.spread(f"{most}.pinned.slowest", name)),
            _number(_median(results.spread(f"{most}.pinned.cpu", name)), 1e6),
        ]
        for name in results.figures[f"{most}.pinned.rate"]
    ]
    header = [
        "calls per second",
        *(f"{number} on one core" for number in numbers),
        "× managers",
        "slowest / mean",
        "CPU per call, all sides, µs",
    ]
    return Table("Clients at once, each a process that calls one by one", header, rows)


def _crowds_free(results: Results) -> Table:
    figures = [name for name in results.figures if name.endswith(".free.rate")]
    crowds = [name for name in figures if name.startswith("clients")]
    rows = [
        [
            PEERS[name].title,
            *_spread(results.spread(figure, name)),
            _times(results.ratio(figure, name, "managers")),
            _times(results.spread(figure.replace("rate", "slowest"), name)),
        ]
        for figure in crowds
        for name in results.figures[figure]
    ]
    count = crowds[0][7:-10] if crowds else ""
    header = ["calls per second", "median", "lowest to highest", "× managers", "slowest / mean"]
    return Table(f"{count} clients at once, free to use all cores", header, rows)


def _connecting(results: Results) -> Table:
    figure = "connect.pinned.median"
    rows = [
        [
            PEERS[name].title,
            *_spread(results.spread(figure, name), 1e6),
            _times(results.ratio(figure, name, "raw")),
        ]
        for name in results.figures.get(figure, {})
    ]
    title = "Connect, authenticate, one small call, on one core"
    return Table(title, ["µs", "median", "lowest to highest", "× raw"], rows)


def _arrays(results: Results, place: str) -> Table:
    put, get, peak = (f"{what}.{place}.{last}" for what, last in _ARRAY_FIGURES)
    rows = []
    for name in results.figures.get(put, {}):
        grown = _median(results.spread(peak, name))
        above = None if grown is None else max(0.0, grown - ARRAY_SIZE)
        rows.append(
            [
                PEERS[name].title,
                *_spread(results.spread(put, name), 1e-9),
                _times(results.ratio(put, name, "raw")),
                *_spread(results.spread(get, name), 1e-9),
                _times(results.ratio(get, name, "raw")),
                _number(above, 1 / MEBIBYTE),
            ]
        )
    where = "client and server on one core" if place == "pinned" else "free to use all cores"
    header = [
        "GB/s",
        "there",
        "lowest to highest",
        "× raw",
        "back",
        "lowest to highest",
        "× raw",
        "peak above, MiB",
    ]
    return Table(f"A numpy array of 64 MiB, {where}", header, rows)


_ARRAY_FIGURES = (("put", "rate"), ("get", "rate"), ("put", "peak"))


def _starting(results: Results) -> Table:
    rows = [
        [
            _STARTS.get(name) or f"{PEERS[name].title}, as a program",
            *_spread(results.spread("start", name), 1e3),
            _times(_over_bare(results, "start", name)),
        ]
        for name in results.figures.get("start", {})
    ]
    header = ["ms", "median", "lowest to highest", "× bare interpreter"]
    return Table("From starting a server to its first reply, on one core", header, rows)


def _programs(results: Results) -> Table:
    names = {
        "bare": "`python -c pass`",
        "import": "`import bgpy`",
        "names": "`from bgpy import Client, Server, respond`",
        "version": "`bgpy version`",
    }
    rows = [
        [
            title,
            *_spread(results.spread(f"program.{name}", "bgpy"), 1e3),
            _times(_over_bare(results, f"program.{name}", "bgpy")),
        ]
        for name, title in names.items()
        if results.values(f"program.{name}", "bgpy")
    ]
    return Table(
        "Short programs, on one core",
        ["ms", "median", "lowest to highest", "× bare interpreter"],
        rows,
    )


def _memory(results: Results) -> Table:
    rows = [
        [
            PEERS[name].title if name in PEERS else "a bare interpreter",
            _number(_median(results.spread("memory.resident", name)), 1 / MEBIBYTE),
            _number(_median(results.spread("memory.private", name)), 1 / MEBIBYTE),
        ]
        for name in results.figures.get("memory.resident", {})
    ]
    idle = results.spread("idle", "bgpy")
    if idle:
        count = results.about["idle_clients"]
        cell = f"{idle.median / 1024:.2f} KiB each"
        rows.append([f"bgpy, idle clients ({count})", NOTHING, cell])
    return Table("Memory of a server after its first call", ["MiB", "resident", "its own"], rows)


def _pings(results: Results) -> Table:
    rows = []
    for load, words in _LOADS.items():
        cells = [
            _number(results.percentile(f"ping.{place}.{load}", "bgpy", part), 1e3)
            for place in ("pinned", "free")
            for part in (0.5, 0.99)
        ]
        rows.append([words, *cells])
    header = ["ms", "one core: median", "p99", "all cores: median", "p99"]
    measured = any(figure.startswith("ping.") for figure in results.figures)
    return Table("Ping to a busy bgpy server", header, rows if measured else [])


def _over_bare(results: Results, figure: str, name: str) -> Spread | None:
    base = results.figures.get("program.bare", {})
    return results.ratio(figure, name, "bgpy", "program.bare") if base else None


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _spread(spread: Spread | None, scale: float = 1.0) -> list[str]:
    if spread is None:
        return [NOTHING, NOTHING]
    low, high = (_number(value, scale) for value in (spread.low, spread.high))
    return [_number(spread.median, scale), f"{low} to {high}"]


def _times(spread: Spread | None) -> str:
    return _number(_median(spread))


def _number(value: float | None, scale: float = 1.0) -> str:
    if value is None:
        return NOTHING
    value *= scale
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")
