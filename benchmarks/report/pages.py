"""The page of a run, and its text for the terminal."""

from __future__ import annotations

from benchmarks.harness.results import Results
from benchmarks.peers import PEERS
from benchmarks.report import tables
from benchmarks.report.chart import round_trips

METHOD = """\
Each peer has a server in a process of its own and a client in another, on loopback, with
authentication where the peer has one. The peers take turns: a round measures a short slice of
each, one kind of slice after another, beginning with another peer each time. Figures are medians
over {rounds} rounds, with the lowest and highest round beside them; a ratio is made within each
round before its median is taken. "On one core" pins client and server, with all their threads,
to the same core. CPU time is that of both processes, by the kernel's clocks. Rates of arrays
are from the order to send until the server's answer that it has the last number. A server's own
memory is what its end would give back. Pings come at random moments, and their percentiles are
over all rounds together.

`make bench` measures it all anew and writes this page and the chart. `make bench-ray` and
`make bench-031` measure what is heavy or needs an environment of its own; run them before."""


def text(results: Results) -> str:
    """For the terminal: the tables, then the bars."""
    found = [*tables.tables(results), tables.bars(results)]
    if "bgpy" not in results.versions or "raw" not in results.figures.get("call.pinned.median", {}):
        found.pop()
    return "\n\n".join([*(table.text() for table in found), *results.notes])


def page(results: Results, others: list[Results]) -> str:
    """``docs/benchmarks.md``: `others` are runs of the heavy peers."""
    parts = [
        "# Benchmarks",
        "How fast bgpy is, beside raw sockets as the limit and beside its peers.",
        "![One call: a small dict there and back, by peer](benchmarks.svg)",
        "## Bars",
        tables.bars(results).markdown().split("\n\n", 1)[1],
        "## Figures",
        *(table.markdown() for table in tables.tables(results)),
        *(_other(run) for run in others),
        "## How it is measured",
        METHOD.format(rounds=results.about["rounds"]),
        "\n".join(f"- {key}: {value}" for key, value in results.machine.items()),
        "\n".join(_peers([results, *others])),
    ]
    notes = sorted({note for run in [results, *others] for note in run.notes})
    if notes:
        parts += ["Remarks on these runs:", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _other(run: Results) -> str:
    table = tables.calls(run, "pinned")
    names = [PEERS[name].title for name in run.figures["call.pinned.median"]]
    others = [name for name in names if name not in ("raw sockets", "bgpy")]
    title = f"{' and '.join(others)}, in a run of its own ({run.machine['date']})"
    return table._replace(title=title).markdown()


def _peers(runs: list[Results]) -> list[str]:
    versions: dict[str, str] = {}
    for run in reversed(runs):
        versions.update(run.versions)
    used = {name for run in runs for name in round_trips([run])} | {"connection"}
    return [
        f"- **{peer.title}**{f' {versions[name]}' if _tells_version(name, versions) else ''}: "
        f"{peer.how}"
        for name, peer in PEERS.items()
        if name in used
    ]


def _tells_version(name: str, versions: dict[str, str]) -> bool:
    return name in versions and versions[name] not in PEERS[name].title
