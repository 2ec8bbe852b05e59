"""``python -m benchmarks.bars``: does the road of a small call meet its bars?

The peers that the bars name take turns, all in one run: each round gives each new processes, a
server and a client pinned together to one core, and measures short slices of all of them in
several turns. A ratio is made within each turn; the table shows the median of them all with the
lowest and the highest. A round takes some 12 seconds. BGPY_ROAD=general measures bgpy without
its short roads, PYTHONPATH=FOLDER/src that of another checkout.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Collection
from pathlib import Path

from benchmarks.harness.home import home, need_linux, say
from benchmarks.harness.measures import Contestant, Run
from benchmarks.harness.settings import ROAD
from benchmarks.report import tables

ALL = frozenset({"call", "pipeline", "clients"})
WANTED = {
    "raw": {"call"},
    "bgpy": ALL,
    "bgpy_unix": {"call"},
    "managers": ALL,
    "raw_tls": {"call"},
    "bgpy_tls": {"call"},
}
"""What the bars are made of: per peer the slices."""


def contestants(only: Collection[str]) -> dict[str, Contestant]:
    """What has any of the slices in `only`."""
    return {
        name: Contestant(name, what & set(only))
        for name, what in WANTED.items()
        if what & set(only)
    }


def main() -> None:
    """Run as the command line says."""
    need_linux()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bars",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=ROAD.rounds, help="(%(default)s) 3 for a first look")
    add("--only", action="append", choices=sorted(ALL), help="measure less: can be repeated")
    add("--save", type=Path, metavar="FILE", help="keep the figures as JSON")
    options = parser.parse_args()
    start = time.monotonic()
    with home(say):
        settings = dataclasses.replace(ROAD, rounds=options.rounds)
        results = Run(settings, contestants(options.only or ALL)).run()
    say(f"measured in {time.monotonic() - start:.0f} s\n")
    if options.save:
        results.save(options.save)
    found = [tables.road_bars(results), *tables.tables(results)]
    print("\n\n".join([*(table.text() for table in found), *results.notes]))


if __name__ == "__main__":
    main()
