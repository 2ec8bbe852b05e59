"""How soon a stranger is let in while many clients have many calls queued.

Run as ``python -m benchmarks.crowded``: 10 clients queue 9,000 calls each behind a task that
runs, and in another process a fresh client connects, proves the token and pings, again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from bgpy import Client, Server, respond, token_create


def init() -> None:
    """No state."""


def execute(client_socket: Any, state: None, args: dict[str, Any]) -> None:
    """Sleep as long as asked."""
    time.sleep(args["seconds"])
    respond(client_socket, None)


def leave(client_socket: Any, state: None, args: dict[str, Any]) -> None:
    """Nothing to do."""


def crowd(clients: int, calls: int, rounds: int) -> list[float]:
    """Seconds that each of `rounds` strangers took: those of another process, as strangers are."""
    token = token_create()
    server = Server("127.0.0.1", 0, token=token)
    handle = server.run_background()
    queueing = [Client(handle.host, handle.port, token) for _ in range(clients)]
    try:
        queueing[0].initialize(init, execute, leave)
        queueing[0].submit({"seconds": 60.0})
        for client in queueing:
            for _ in range(calls):
                client.submit({"seconds": 0.0})
        command = [sys.executable, "-m", "benchmarks.crowded", "--rounds", str(rounds)]
        environment = {**os.environ, "BGPY_TOKEN": token}
        ran = subprocess.run(
            [*command, "--strangers", handle.address],
            env=environment,
            stdout=subprocess.PIPE,
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--calls", type=int, default=9_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--strangers", metavar="ADDRESS", help="be them, and print their seconds")
    options = parser.parse_args()
    if options.strangers:
        print(json.dumps(strangers(options.strangers, options.rounds)))
        return
    took = [1000 * each for each in crowd(options.clients, options.calls, options.rounds)]
    print(
        f"connect, proof and ping: median {statistics.median(took):.1f} ms, worst {max(took):.1f}"
    )


if __name__ == "__main__":
    main()
