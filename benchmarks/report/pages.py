"""The page of a run, and its text for the terminal."""

from __future__ import annotations

from benchmarks.harness.results import Results
from benchmarks.peers import PEERS
from benchmarks.report import tables

METHOD = """\
Each peer has a server in a process of its own and a client in another, on loopback, with
authentication where the peer has one; each round starts them anew, since where a process's code
and data happen to lie makes it faster or slower for life. The peers take turns: a round measures a
short slice of each, one kind of slice after another, beginning with another peer each time, and
the slices of calls {turns} times. Figures are medians over {rounds} rounds, with the lowest and
highest beside them; a ratio is made between neighbours in a turn before its median is taken. Ray
and bgpy 0.3.1, which need environments of their own, have their turn at the end of each round,
alone. "On one core" pins client and server, with all their threads, to the same core. CPU time is
that of both processes, by the kernel's clocks. Rates of arrays are from the order to send until
the server's answer that it has the last number. A server's own memory is what its end would give
back. Pings come at random moments, and their percentiles are over all rounds together.

A ratio says more than a time: it depends far less on the machine and on what else it does. Compare
rows of one table, not times with those of another day.

| command | measures | takes |
| --- | --- | --- |
| `make bench` | all, and writes this page and the chart | about 20 minutes |
| `make bench-bars` | the road of a small call: the first table only | 2 minutes |
| `make bench-quick` | all but what needs time, in two short rounds | 2 minutes |
| `make bench-compare BEFORE=../before` | small calls of two checkouts in turns | 2 minutes |

The machine should have nothing else to do meanwhile. A peer that is not installed is left out;
`make bench-peers` installs those with environments of their own, at the versions in
`benchmarks/environments`."""


def text(results: Results) -> str:
    """For the terminal: the tables, then the bars."""
    found = tables.tables(results)
    if "bgpy" in results.versions and "raw" in results.figures.get("call.pinned.median", {}):
        found += [tables.road_bars(results), tables.other_bars(results)]
    return "\n\n".join([*(table.text() for table in found), *results.notes])


def page(results: Results) -> str:
    """``docs/benchmarks.md``."""
    parts = [
        "# Benchmarks",
        "How fast bgpy is, beside raw sockets as the limit and beside its peers.",
        "![One call: a small dict there and back, by peer](benchmarks.svg)",
        "## Bars",
        tables.road_bars(results).markdown(),
        tables.other_bars(results).markdown(),
        "## Figures",
        *(table.markdown() for table in tables.tables(results)),
        "## How it is measured",
        METHOD.format(**results.about),
        "\n".join(f"- {key}: {value}" for key, value in results.machine.items()),
        "\n".join(_peers(results)),
    ]
    if results.notes:
        parts += ["Remarks on this run:", "\n".join(f"- {note}" for note in sorted(results.notes))]
    return "\n\n".join(parts) + "\n"


def _peers(results: Results) -> list[str]:
    used = {name for figure in results.figures.values() for name in figure}
    return [
        f"- **{peer.title}**{_version(name, results)}: {peer.how}"
        for name, peer in PEERS.items()
        if name in used
    ]


def _version(name: str, results: Results) -> str:
    version = results.versions.get(name)
    return "" if version is None or version in PEERS[name].title else f" {version}"
