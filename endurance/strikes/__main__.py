"""``python -m endurance.strikes``: strike client and server everywhere; the exit code tells.

In rounds of walks and storms, two at once, until the time is over: a round takes every
seventh place, the next round the places beside those. Under a minute it is one round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from time import monotonic

import psutil

from benchmarks.harness.home import home, say
from endurance.strikes.watch import HUNG

CLIENT = ("raise", "interrupt", "alike", "twice", "call", "submit", "collect")
SERVER = ("strike", "leave")
STEP = 7
PATIENCE = 240.0
"""Seconds for one process; whatever hangs in it is found by itself earlier."""


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m endurance.strikes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1, help="where the first round begins")
    options = parser.parse_args()
    if sys.platform == "win32":
        sys.exit("the strikes need POSIX signals")
    failed = 0
    end = monotonic() + options.seconds
    with home(say) as folder, ThreadPoolExecutor(2) as pool:
        for number in count(options.seed):
            storm = min(60.0, options.seconds / 3)
            for outcome, good in pool.map(_run, round_of(number, storm)):
                print(outcome, flush=True)
                failed += not good
            if failed or monotonic() + storm > end:
                break
        failed += _left(folder)
    print("all held" if not failed else f"{failed} did not hold")
    sys.exit(1 if failed else 0)


def round_of(number: int, storm: float) -> Iterator[list[str]]:
    """The programs of a round, and their arguments; the longest first."""
    places = ["--start", str(1 + number % STEP), "--step", str(STEP)]
    yield ["storm", "--seconds", str(storm), "--seed", str(number)]
    for strike in CLIENT:
        yield ["client_walk", strike, *places]
    for strike in SERVER:
        yield ["server_walk", strike, *places]


def _run(command: list[str]) -> tuple[str, bool]:
    """What the program printed, and whether all held there."""
    whole = [sys.executable, "-m", f"endurance.strikes.{command[0]}", *command[1:]]
    try:
        done = subprocess.run(
            whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        return f"{' '.join(command)} did not end within {PATIENCE} s: {error.output!r}", False
    good = done.returncode == 0
    verdict = {0: "held", HUNG: "HUNG"}.get(done.returncode, "FAILED")
    return f"{verdict}: {' '.join(command)}\n{done.stdout.rstrip()}", good


def _left(folder: str) -> int:
    """Processes that the run has left behind; they are told, and ended with its folder."""
    left = 0
    for process in psutil.process_iter():
        try:
            found = process.environ().get("BGPY_HOME") == folder
        except psutil.Error:
            continue
        if found and process.pid != psutil.Process().pid:
            print(f"left behind: {process}")
            left += 1
    return left


if __name__ == "__main__":
    main()
