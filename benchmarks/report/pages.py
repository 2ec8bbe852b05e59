"""The page of a run, and its text for the terminal."""

from __future__ import annotations

from benchmarks.harness.results import Results
from benchmarks.peers import PEERS
from benchmarks.report import tables

READING = """\
Raw sockets are the limit: the least that two Python processes can do to send something there and
back. So × raw, how many times as long as over raw TCP sockets, is what to look at. Ratios depend
little on the machine and on what else it does, and times very much: compare rows of one table, not
times of two pages. "Lowest to highest" tells how far to trust a figure: if the ranges of two rows
overlap widely, they are equally fast.

- **median** and **p99**: half of the calls take no longer than the first, 99 % of them no longer
  than the second, which what else runs on the machine decides more than the peer does.
- **CPU, both sides**: what one call costs the client's process and the server's together. That is
  what counts on a machine that has other work to do.
- **on one core** is the hardest case for whoever uses several threads, and what a busy machine
  comes to. **Free to use all cores** also has the time that it takes to wake another core.
- **slowest / mean** of clients at once: 1 if all get the same, 0.5 if one of them gets half of
  what it should.
- **peak above** is what the server's memory grew by at most, beyond the array itself."""

METHOD = """\
Each peer has a server in a process of its own and a client in another, on loopback, with
authentication where the peer has one. Each round starts them anew: where a process's code and
data happen to lie makes it faster or slower for as long as it lives. In a round the peers take
turns: a short slice of each, one kind of slice after another, beginning with another peer each
time; calls have {turns} turns in a round. A peer with an environment of its own is started at the
end of the round, for its slices alone. Figures are medians over all turns of {rounds} rounds, and
a ratio is made within each turn before its median is taken.

"On one core" pins client and server, with all their threads, to the same core. CPU time is by
the kernel's clocks of both processes. Rates of arrays are from the order to send until the
server's answer that it has the last number. A server's own memory is what its end would give back.
Pings come at random moments, and their percentiles are over all rounds together."""

REPEATING = """\
On Linux, with a machine that has nothing else to do:

| command | measures | takes |
| --- | --- | --- |
| `make bench` | all, and writes this page and its chart | 20 minutes |
| `make bench-quick` | the same in two short rounds, without the slowest peers | 2 minutes |
| `make bench-bars` | the road of a small call, against its bars | 2 minutes |
| `make bench-compare BEFORE=../before` | small calls of two checkouts, in turns | 2 minutes |
| `.venv/bin/python -m benchmarks.crowded` | how soon a stranger is let in by a busy server | 2 s |

`ROUNDS=3` makes the first three shorter or longer. `--help` of `python -m benchmarks`,
`benchmarks.bars` and `benchmarks.compare` tells what else they can do, such as measuring only some
peers or slices, or bgpy over a Unix socket or TLS. The peers' versions stand in
`benchmarks/environments`; `make bench` installs them into environments of their own, and leaves
out of the tables what does not install."""


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
        "## How to read it",
        READING,
        "## Bars",
        tables.road_bars(results).markdown(),
        tables.other_bars(results).markdown(),
        "## Figures",
        *(table.markdown() for table in tables.tables(results)),
        "## How it is measured",
        METHOD.format(**results.about),
        "The machine:",
        "\n".join(f"- {key}: {value}" for key, value in results.machine.items()),
        "The peers:",
        "\n".join(_peers(results)),
    ]
    if results.notes:
        parts += ["Remarks on this run:", "\n".join(f"- {note}" for note in sorted(results.notes))]
    parts += ["## How to repeat it", REPEATING]
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
