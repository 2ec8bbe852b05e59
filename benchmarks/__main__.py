"""``python -m benchmarks``: bgpy and its peers, measured in turns in one run.

Prints the tables, and writes page and chart if asked. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from benchmarks.harness.home import home, need_linux, open_files, say
from benchmarks.harness.machine import describe
from benchmarks.harness.measures import Contestant, Run
from benchmarks.harness.results import Results
from benchmarks.harness.settings import FULL, QUICK
from benchmarks.peers import PEERS
from benchmarks.report import chart, pages


def main() -> None:
    """Run as the command line says."""
    need_linux()
    options = _parser().parse_args()
    if options.read:
        results = Results.read(options.read)
    else:
        results = _measure(options)
        if options.save:
            results.save(options.save)
    print(pages.text(results))
    if options.write:
        _write(results, options.write)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="two short rounds, without the slowest peers")
    add("--rounds", type=int, help=f"({FULL.rounds}; {QUICK.rounds} with --quick)")
    add("--peers", metavar="NAME,...", help=f"not all, but some of {', '.join(PEERS)}")
    add("--save", type=Path, metavar="FILE", help="keep the figures as JSON")
    add("--read", type=Path, metavar="FILE", help="show kept figures, measure nothing")
    add("--write", type=Path, metavar="FOLDER", help="write benchmarks.md and benchmarks.svg")
    return parser


def _measure(options: argparse.Namespace) -> Results:
    settings = QUICK if options.quick else FULL
    settings = dataclasses.replace(
        settings,
        rounds=options.rounds or settings.rounds,
        idle_clients=open_files(settings.idle_clients),
    )
    names = _names(options)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        sys.exit(f"unknown peers: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    start = time.monotonic()
    contestants = {name: Contestant(name, PEERS[name].can) for name in names}
    with home(say):
        results = Run(settings, contestants).run()
    say(f"measured in {time.monotonic() - start:.0f} s\n")
    results.machine = describe()
    results.about = dataclasses.asdict(settings)
    return results


def _names(options: argparse.Namespace) -> list[str]:
    if options.peers:
        return list(options.peers.split(","))
    return [name for name, peer in PEERS.items() if not (options.quick and peer.environment)]


def _write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(pages.page(results), encoding="utf-8")
    drawing = chart.draw(chart.round_trips(results))
    (folder / "benchmarks.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
