"""``python -m endurance.soak``: one server for a long time, among clients that come, go and die.

Workers call, submit, reconnect, fail, time out, break the protocol and are killed, at random by
a seed. Memory, descriptors and threads of the server must be flat; the exit code tells.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from benchmarks.harness.flatness import trend
from benchmarks.harness.home import home, say
from benchmarks.harness.process import private_memory
from benchmarks.report.bars import MEBIBYTE
from benchmarks.report.tables import Table
from bgpy import BgpyError, CallTimeout, Client, Handle
from endurance.siege.measures import TOKEN, served
from endurance.siege.slow import HELLO

WORKERS = 4
SAMPLE = 0.25
"""Seconds between two looks at the server."""


class Figure(NamedTuple):
    """What is looked at."""

    name: str
    unit: str
    scale: float
    tolerance: float
    """Growth in the whole run, in units, that nobody would care about."""
    look: Callable[[psutil.Process], float]


FIGURES = [
    Figure("memory of its own", "MiB", MEBIBYTE, 1.0, lambda server: private_memory(server.pid)),
    Figure("descriptors", "", 1, 1.0, lambda server: server.num_fds()),
    Figure("threads", "", 1, 0.5, lambda server: server.num_threads()),
    Figure("children", "", 1, 0.5, lambda server: len(server.children())),
]


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m endurance.soak", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(options.worker, options.seed)
    if not sys.platform.startswith("linux"):
        sys.exit("the soak needs Linux: it looks into /proc")
    with home(say), served() as handle:
        samples = _soak(handle, options.seconds, random.Random(options.seed))
        healthy = _serves(handle)
    table, flat = _verdict(samples)
    print(table.text())
    sys.exit(0 if flat and healthy else 1)


def _soak(handle: Handle, seconds: float, chance: random.Random) -> list[list[float]]:
    """Samples of each figure, in order."""
    server = psutil.Process(handle.pid)
    samples: list[list[float]] = [[] for _ in FIGURES]
    workers = [_worker(handle.port, chance) for _ in range(WORKERS)]
    start = time.monotonic()
    kills, next_kill = 0, start + 1.0
    try:
        while (now := time.monotonic()) < start + seconds:
            for kept, figure in zip(samples, FIGURES, strict=True):
                kept.append(figure.look(server))
            dead = [number for number, worker in enumerate(workers) if worker.poll() is not None]
            if dead:
                sys.exit("a worker has failed; its error stands above")
            if now > next_kill:
                number = chance.randrange(WORKERS)
                _end(workers[number])
                workers[number] = _worker(handle.port, chance)
                kills, next_kill = kills + 1, now + chance.uniform(0.5, 2.0)
            time.sleep(SAMPLE)
    finally:
        for worker in workers:
            _end(worker)
    with Client("127.0.0.1", handle.port, TOKEN, timeout=60.0) as client:
        say(f"{client.call({'add': 0})} calls counted, {kills} clients killed")
    return samples


def _worker(port: int, chance: random.Random) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "endurance.soak", "--worker", str(port)]
    return subprocess.Popen([*command, "--seed", str(chance.randrange(2**32))])


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()


def _serves(handle: Handle) -> bool:
    """Whether it still does, with no more connections than this one."""
    with Client("127.0.0.1", handle.port, TOKEN, timeout=60.0) as client:
        before = client.call({"add": 0})
        return bool(client.call({"add": 1}) == before + 1)


def _verdict(samples: list[list[float]]) -> tuple[Table, bool]:
    rows, flat = [], True
    for kept, figure in zip(samples, FIGURES, strict=True):
        found = trend([sample / figure.scale for sample in kept])
        minutes = 0.75 * len(kept) * SAMPLE / 60
        good = found.is_flat(figure.tolerance)
        flat = flat and good
        rows.append(
            [
                f"{figure.name}{', ' if figure.unit else ''}{figure.unit}",
                f"{found.start:.2f}",
                f"{found.growth / minutes:+.3f}",
                f"{found.growth:+.3f}",
                "yes" if found.beyond_chance else "no",
                "flat" if good else "GROWS",
            ]
        )
    header = ["of the server", "start", "per minute", "in all", "beyond chance", "verdict"]
    return Table("Slopes after the first quarter", header, rows), flat


# The worker


def _work(port: int, seed: int) -> None:
    chance = random.Random(seed)
    client = Client("127.0.0.1", port, TOKEN, timeout=60.0)
    parent = os.getppid()
    while os.getppid() == parent:
        chance.choice(_DEEDS)(client, port, chance)
    sys.exit()


def _call(client: Client, port: int, chance: random.Random) -> None:
    for _ in range(chance.randrange(200)):
        client.call({"add": 1})


def _submit(client: Client, port: int, chance: random.Random) -> None:
    futures = [client.submit({"add": 1}) for _ in range(chance.randrange(200))]
    for future in futures:
        future.result(60.0)


def _reconnect(client: Client, port: int, chance: random.Random) -> None:
    client.close()
    client.ping()


def _large(client: Client, port: int, chance: random.Random) -> None:
    client.call({"add": 1, "much": bytes(chance.randrange(2**20))})


def _fail(client: Client, port: int, chance: random.Random) -> None:
    with contextlib.suppress(KeyError):
        client.call({"subtract": 1})


def _time_out(client: Client, port: int, chance: random.Random) -> None:
    with contextlib.suppress(CallTimeout):
        client.call({"add": 1}, timeout=0.0)


def _intrude(client: Client, port: int, chance: random.Random) -> None:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 60.0) as sock,
    ):
        sock.sendall(chance.choice((b"", b"GET /", HELLO[:30], HELLO, HELLO + bytes(32))))


def _guess(client: Client, port: int, chance: random.Random) -> None:
    with (
        contextlib.suppress(BgpyError),
        Client("127.0.0.1", port, "x" * 40, timeout=60.0) as wrong,
    ):
        wrong.ping()


_DEEDS = [_call, _call, _call, _submit, _submit, _reconnect, _large, _fail]
_DEEDS += [_time_out, _intrude, _guess]


if __name__ == "__main__":
    main()
