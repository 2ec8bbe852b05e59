"""``python -m benchmarks.crowded``: how soon a stranger is let in while many calls are queued.

Clients queue their calls behind a task that runs; meanwhile a fresh client in another process
connects, proves the token and pings, again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.harness import tasks
from benchmarks.harness.home import home, need_linux, say
from bgpy import Client, Server, token_create

LONG = 60.0
"""Seconds of the task that all calls wait for; it ends with the server."""


def crowd(clients: int, calls: int, rounds: int) -> list[float]:
    """Seconds that each of `rounds` strangers took: those of another process, as strangers are."""
    token = token_create()
    handle = Server("127.0.0.1", 0, token=token).run_background()
    queueing = [Client(handle.address, token=token) for _ in range(clients)]
    try:
        queueing[0].initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
        queueing[0].submit({"do": "sleep", "seconds": LONG})
        for client in queueing:
            for _ in range(calls):
                client.submit({"add": 1})
        command = [sys.executable, "-m", "benchmarks.crowded", "--rounds", str(rounds)]
        ran = subprocess.run(
            [*command, "--strangers", handle.address],
            env={**os.environ, "BGPY_TOKEN": token},
            stdout=subprocess.PIPE,
            timeout=LONG,
            check=True,
        )
        return list(json.loads(ran.stdout))
    finally:
        handle.kill()
        for client in queueing:
            client.close()


def strangers(address: str, rounds: int) -> list[float]:
    """Seconds that each of them took to connect, prove the token and ping."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        with Client(address) as stranger:
            stranger.ping()
        took.append(time.perf_counter() - began)
    return took


def main() -> None:
    """Print median and worst, in milliseconds."""
    need_linux()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowded", description=__doc__)
    add = parser.add_argument
    add("--clients", type=int, default=10, help="that queue calls (%(default)s)")
    add("--calls", type=int, default=9_000, help="queued by each (%(default)s)")
    add("--rounds", type=int, default=50, help="strangers, one after another (%(default)s)")
    add("--strangers", metavar="ADDRESS", help="be the strangers, and print their seconds as JSON")
    options = parser.parse_args()
    if options.strangers:
        print(json.dumps(strangers(options.strangers, options.rounds)))
        return
    with home(say):
        took = [1000 * each for each in crowd(options.clients, options.calls, options.rounds)]
    print(
        f"connect, proof and ping: median {statistics.median(took):.1f} ms, worst {max(took):.1f}"
    )


if __name__ == "__main__":
    main()
