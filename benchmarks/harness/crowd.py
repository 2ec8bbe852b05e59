"""Many clients at once, each in a process of its own that is forked from this one.

::

    parent            child × count
      | fork ───────►   | connects, calls once
      | ◄── ready ────  |
      | ── begin, end ► | calls until the end, and counts from the beginning
      | ◄── share ────  X
"""

from __future__ import annotations

import os
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.harness.settings import SETTLING

PATIENCE = 30.0
"""Seconds for all to connect, and beyond their time for all to tell."""


class Share(NamedTuple):
    """What one client did in the time that counts."""

    calls: int
    cpu: float
    """Seconds of CPU time that its process took for them."""


class Crowd(NamedTuple):
    """What all did in the time that counts."""

    shares: list[Share]
    server_cpu: float
    """Seconds of CPU time that the server took."""


_SHARE = struct.Struct("Qd")
_READY = _SHARE.pack(0, 0.0)


class Pipes(NamedTuple):
    """The ends that children use: one they write to, one that tells them when to begin and end."""

    told: int
    go: int


def run(
    connect: Callable[[], Any], count: int, seconds: float, server_clock: Callable[[], float]
) -> Crowd:
    """What `count` clients did in `seconds`; `server_clock` gives the server's CPU time so far."""
    told, tell = os.pipe()
    go, start = os.pipe()
    children: list[int] = []
    try:
        for _ in range(count):
            children.append(_fork(connect, seconds, Pipes(tell, go), (told, start)))
        os.close(tell)
        _read(told, count, PATIENCE)
        # The same time for all: whoever is late counts fewer calls.
        begin = time.monotonic() + SETTLING
        os.write(start, count * struct.pack("2d", begin, begin + seconds))
        clocks = []
        for moment in (begin, begin + seconds):
            time.sleep(max(0.0, moment - time.monotonic()))
            clocks.append(server_clock())
        return Crowd(_read(told, count, PATIENCE), clocks[1] - clocks[0])
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
        for descriptor in (told, go, start):
            os.close(descriptor)


def _read(told: int, count: int, patience: float) -> list[Share]:
    data = b""
    deadline = time.monotonic() + patience
    while len(data) < count * _SHARE.size:
        if not select.select([told], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"{len(data) // _SHARE.size} of {count} clients answered in time")
        chunk = os.read(told, count * _SHARE.size - len(data))
        if not chunk:
            raise ConnectionError("the clients ended early; their errors stand above")
        data += chunk
    return [Share(*each) for each in _SHARE.iter_unpack(data)]


def _fork(connect: Callable[[], Any], seconds: float, pipes: Pipes, others: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        # A child that hangs ends itself, should nobody be left to end it.
        signal.alarm(int(2 * PATIENCE + seconds) + 1)
        for descriptor in others:
            os.close(descriptor)
        _call(connect(), pipes)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _call(connection: Any, pipes: Pipes) -> None:
    connection.call({"add": 1})
    os.write(pipes.told, _READY)
    begin, end = struct.unpack("2d", os.read(pipes.go, 16))
    calls = 0
    call, clock = connection.call, time.monotonic
    while clock() < begin:
        call({"add": 1})
    cpu = time.process_time()
    while clock() < end:
        call({"add": 1})
        calls += 1
    os.write(pipes.told, _SHARE.pack(calls, time.process_time() - cpu))
    # Not before all are done: closing costs the server time.
    time.sleep(PATIENCE)
