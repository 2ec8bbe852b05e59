"""``python -m benchmarks.compare BEFORE AFTER``: two checkouts of bgpy against each other.

Each is the folder of a checkout, or of its ``src``. In every round both get new processes, a
server and a client pinned together to one core, and do the same slices in turns, so that what
else the machine does strikes both; the ratio is made within each turn. The harness is this
checkout's: both are driven through the same public names.

The ratio reads "after over before": above 1 is slower for times, faster for rates. CPU time
per call is the figure that a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.home import home, need_linux, open_files, say
from benchmarks.harness.measures import Contestant, Run
from benchmarks.harness.results import Results
from benchmarks.harness.settings import ROAD, Settings
from benchmarks.peers import PEERS
from benchmarks.report.tables import Table

MICROSECONDS, THOUSANDS, BYTES = 1e6, 1e-3, 1.0
SIDES = ("before", "after")
ROWS = [
    ("small call, median, µs", "call.pinned.median", MICROSECONDS),
    ("small call, p99, µs", "call.pinned.p99", MICROSECONDS),
    ("CPU time per small call, both sides, µs", "call.pinned.cpu", MICROSECONDS),
    ("pipelined, thousand calls a second", "pipeline.pinned.rate", THOUSANDS),
    ("100 clients at once, thousand calls a second", "clients100.pinned.rate", THOUSANDS),
    ("their CPU time per call, all sides, µs", "clients100.pinned.cpu", MICROSECONDS),
    ("connect and first call, µs", "connect.pinned.median", MICROSECONDS),
    ("an idle client, bytes of the server's memory", "idle", BYTES),
]


def environment(checkout: Path) -> dict[str, str]:
    """With what `import bgpy` means that checkout's; exits if it doesn't."""
    source = next(
        (each for each in (checkout / "src", checkout) if (each / "bgpy" / "__init__.py").exists()),
        None,
    )
    if source is None:
        sys.exit(f"{checkout} holds no bgpy, neither in src nor at its top")
    made = {"PYTHONPATH": str(source.resolve())}
    command = [sys.executable, "-c", "import bgpy; print(bgpy.__file__)"]
    ran = subprocess.run(
        command, env={**os.environ, **made}, check=True, capture_output=True, text=True
    )
    if Path(ran.stdout.strip()).parents[1] != source.resolve():
        sys.exit(f"asked for the bgpy of {source}, Python imports {ran.stdout.strip()}")
    return made


def compare(checkouts: dict[str, Path], peer: str, settings: Settings) -> Results:
    """Measure both, in turns; the figures go by the names in `SIDES`."""
    contestants = {
        side: Contestant(peer, PEERS[peer].can, environment(checkouts[side])) for side in SIDES
    }
    with home(say):
        return Run(settings, contestants).run()


def table(results: Results) -> Table:
    """Medians of both, and the ratio with its lowest and highest turn."""
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
    header = ["medians", *SIDES, "ratio", "lowest – highest"]
    return Table("Two checkouts, server and client on one core", header, rows)


def main() -> None:
    """Run as the command line says."""
    need_linux()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("before", type=Path, help="a checkout, or its src")
    add("after", type=Path, help="the other one")
    add("--peer", choices=("bgpy", "bgpy_unix", "bgpy_tls"), default="bgpy", help="(%(default)s)")
    add("--rounds", type=int, default=ROAD.rounds, help="(%(default)s)")
    add("--seconds", type=float, default=ROAD.calls, help="length of a slice (%(default)s)")
    add("--no-crowd", action="store_true", help="leave out the 100 clients")
    add("--idle", type=int, default=0, metavar="COUNT", help="add so many idle clients' memory")
    add("--save", type=Path, metavar="FILE", help="keep the figures as JSON")
    options = parser.parse_args()
    settings = dataclasses.replace(
        ROAD,
        rounds=options.rounds,
        calls=options.seconds,
        connects=options.seconds,
        crowds=() if options.no_crowd else ROAD.crowds,
        idle_clients=open_files(options.idle),
    )
    results = compare({"before": options.before, "after": options.after}, options.peer, settings)
    if options.save:
        results.save(options.save)
    print("\n\n".join([table(results).text(), *results.notes]))


if __name__ == "__main__":
    main()
