"""``python -m benchmarks.compare BEFORE AFTER``: two checkouts of bgpy against each other.

Each is the folder of a checkout, or of its ``src``. In every round both get new processes, a
server and a client pinned together to one core, and do the same slices in turns, so that what
else the machine does strikes both; the ratio is made within each round. The harness is this
checkout's: both are driven through the same public names.

The ratio reads "after over before": above 1 is slower for times, faster for rates. CPU time
per call is the figure that a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness.bench import Bench
from benchmarks.harness.home import home, say
from benchmarks.harness.results import Results
from benchmarks.report.tables import Table

PATIENCE = 90.0
"""Seconds after which a slice counts as hung."""
MICROSECONDS, THOUSANDS = 1e6, 1e-3
SIDES = ("before", "after")
ROWS = [
    ("small call, median, µs", "call.median", MICROSECONDS),
    ("small call, p99, µs", "call.p99", MICROSECONDS),
    ("CPU time per small call, both sides, µs", "call.cpu", MICROSECONDS),
    ("pipelined, thousand calls a second", "pipeline.rate", THOUSANDS),
    ("100 clients at once, thousand calls a second", "clients.rate", THOUSANDS),
    ("connect and first call, µs", "connect.median", MICROSECONDS),
]


def slices(seconds: float, crowd: bool) -> dict[str, dict[str, Any]]:
    """The requests to a client, by the beginning of their figures' names."""
    found: dict[str, dict[str, Any]] = {
        "call": {"do": "call", "seconds": seconds},
        "pipeline": {"do": "pipeline", "seconds": seconds},
        "connect": {"do": "connect", "seconds": seconds / 2},
    }
    if crowd:
        found["clients"] = {"do": "clients", "count": 100, "seconds": 2 * seconds}
    return found


def environment(checkout: Path) -> dict[str, str]:
    """One in which `import bgpy` means that checkout's; exits if it doesn't."""
    source = next(
        (each for each in (checkout / "src", checkout) if (each / "bgpy" / "__init__.py").exists()),
        None,
    )
    if source is None:
        sys.exit(f"{checkout} holds no bgpy, neither in src nor at its top")
    made = {**os.environ, "PYTHONPATH": str(source.resolve())}
    command = [sys.executable, "-c", "import bgpy; print(bgpy.__file__)"]
    found = subprocess.run(command, env=made, check=True, capture_output=True, text=True).stdout
    if Path(found.strip()).parents[1] != source.resolve():
        sys.exit(f"asked for the bgpy of {source}, Python imports {found.strip()}")
    return made


def compare(checkouts: dict[str, Path], rounds: int, seconds: float, crowd: bool) -> Results:
    """Measure both, in turns; the figures go by the names in `SIDES`."""
    results = Results()
    core = sorted(os.sched_getaffinity(0))[-1:]
    for turn in range(rounds):
        order = SIDES if turn % 2 == 0 else SIDES[::-1]
        benches: dict[str, Bench] = {}
        try:
            for side in order:
                benches[side] = Bench("bgpy", environment=environment(checkouts[side]))
                benches[side].start(PATIENCE)
            for name, request in slices(seconds, crowd).items():
                for side in order:
                    figures = benches[side].measure(core, PATIENCE, dict(request))
                    for what, value in figures.items():
                        results.add(f"{name}.{what}", side, turn, value)
        finally:
            for bench in benches.values():
                bench.end()
        say(f"round {turn + 1} of {rounds}")
    return results


def table(results: Results) -> Table:
    """Medians of both, and the ratio with its lowest and highest round."""
    rows = []
    for title, figure, scale in ROWS:
        before, after = (results.spread(figure, side) for side in SIDES)
        ratio = results.ratio(figure, "after", "before")
        if before and after and ratio:
            rows.append(
                [
                    title,
                    f"{before.median * scale:.1f}",
                    f"{after.median * scale:.1f}",
                    f"{ratio.median:.3f}",
                    f"{ratio.low:.3f} – {ratio.high:.3f}",
                ]
            )
    header = ["median over the rounds", *SIDES, "ratio", "lowest – highest round"]
    return Table("Two checkouts, server and client on one core", header, rows)


def main() -> None:
    """Run as the command line says."""
    if not sys.platform.startswith("linux"):
        sys.exit("the benchmarks need Linux: they pin processes and read their CPU clocks")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    add = parser.add_argument
    add("before", type=Path, help="a checkout, or its src")
    add("after", type=Path, help="the other one")
    add("--rounds", type=int, default=9)
    add("--seconds", type=float, default=0.5, help="length of a slice (0.5)")
    add("--no-crowd", action="store_true", help="leave out the 100 clients")
    add("--save", type=Path, metavar="FILE", help="keep the figures as JSON")
    options = parser.parse_args()
    checkouts = {"before": options.before, "after": options.after}
    with home(say):
        results = compare(checkouts, options.rounds, options.seconds, not options.no_crowd)
    if options.save:
        results.save(options.save)
    print(table(results).text())


if __name__ == "__main__":
    main()
