"""``python -m endurance.siege``: lay siege, print the bars, write its page if asked."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from benchmarks.harness.home import home, open_files, say
from benchmarks.harness.machine import describe
from benchmarks.harness.results import Results
from endurance.siege import bars
from endurance.siege.measures import FULL, QUICK, run

METHOD = """\
- **Hostile inputs** are mutations, by a fixed seed, of what an honest client says: its handshake,
  its requests, and pickles that make a folder where they are loaded. {over_sockets:,} of them are
  sent to a server, each over a TCP connection of its own, 200 at once, while another client pings
  it. {on_stage:,} are fed to the same sessions, handshakes and handlers without sockets and
  threads, in pieces of several sizes, which is several times as fast. The server counts what
  goes through `pickle.loads`, and Python's audit event `pickle.find_class`.
- **Unauthenticated connections**: {strangers:,} at once, half of them silent, half with their
  hello said. The memory is the server's own, of which the kernel's buffers are no part.
- **Slow peers**: at least {slow_peers:,} of them at once, from another process, each of which says
  its hello a byte a second and comes again when it finds that it was dropped; an honest client
  calls meanwhile, in {rounds} rounds without and with them. Once all of them are let stay for
  their 5 seconds, once the default limit of 1,000 half-open connections holds.
- **Long use**: {calls:,} calls one by one and {connects:,} connects, after a tenth of that as a
  warm-up.

`make siege` measures it all anew and writes this page."""


def main() -> None:
    """Run as the command line says; the exit code tells whether all bars are met."""
    if not sys.platform.startswith("linux"):
        sys.exit("the siege needs Linux: it looks into /proc")
    parser = argparse.ArgumentParser(prog="python -m endurance.siege", description=main.__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="under a minute, for a first look")
    add("--save", type=Path, metavar="FILE", help="keep the figures as JSON")
    add("--read", type=Path, metavar="FILE", help="show kept figures, measure nothing")
    add("--write", type=Path, metavar="FOLDER", help="write siege.md")
    options = parser.parse_args()
    results = Results.read(options.read) if options.read else _measure(options.quick)
    if options.save:
        results.save(options.save)
    print(bars.table(results).text(), bars.figures(results).text(), sep="\n\n")
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "siege.md").write_text(page(results), encoding="utf-8")
    sys.exit(0 if bars.met(results) else 1)


def _measure(quick: bool) -> Results:
    settings = QUICK if quick else FULL
    wanted = max(settings.strangers, settings.slow_peers)
    if open_files(wanted) < wanted:
        sys.exit(f"the siege needs {wanted} open files: raise the limit (ulimit -n)")
    with home(say):
        results = run(settings)
    results.machine = describe()
    results.about = dataclasses.asdict(settings)
    return results


def page(results: Results) -> str:
    """``docs/siege.md``."""
    parts = [
        "# Siege",
        "What bgpy withstands, measured: strangers who hold no token, by number, by patience and "
        "by malice, and long use by those who hold it.",
        "## Bars",
        bars.table(results).markdown().split("\n\n", 1)[1],
        "## Figures",
        bars.figures(results).markdown().split("\n\n", 1)[1],
        "## How it is measured",
        METHOD.format(**results.about),
        "\n".join(f"- {key}: {value}" for key, value in results.machine.items()),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
