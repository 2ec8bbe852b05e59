"""How soon a stranger is let in while many clients have many calls queued.

Run as ``python -m benchmarks.crowded``: 10 clients queue 9,000 calls each behind a task that
runs, and a fresh client connects, proves the token and pings, again and again.
"""

from __future__ import annotations

import argparse
import statistics
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


def measure(clients: int, calls: int, rounds: int) -> list[float]:
    """Seconds that each of `rounds` strangers took."""
    token = token_create()
    server = Server("127.0.0.1", 0, token=token)
    handle = server.run_background()
    crowd = [Client(handle.host, handle.port, token) for _ in range(clients)]
    try:
        crowd[0].initialize(init, execute, leave)
        crowd[0].submit({"seconds": 60.0})
        for client in crowd:
            for _ in range(calls):
                client.submit({"seconds": 0.0})
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            with Client(handle.host, handle.port, token) as stranger:
                stranger.ping()
            took.append(time.perf_counter() - began)
        return took
    finally:
        handle.kill()
        for client in crowd:
            client.close()


def main() -> None:
    """Print median and worst, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--calls", type=int, default=9_000)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    took = [1000 * each for each in measure(options.clients, options.calls, options.rounds)]
    print(
        f"connect, proof and ping: median {statistics.median(took):.1f} ms, worst {max(took):.1f}"
    )


if __name__ == "__main__":
    main()
