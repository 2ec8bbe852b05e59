"""Inputs into real sessions and handshakes, with no socket and no thread between."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import psutil

from bgpy.codec import payload
from fuzz import stage


class Play(NamedTuple):
    """What came of the inputs."""

    inputs: int
    unpickled: int
    slowest: float
    failures: int
    """Exceptions that came out of a session, tracebacks in its log, sessions left open."""
    growth: int
    """Bytes by which the process grew after the first tenth."""


def play(data: Iterable[bytes], count: int) -> Play:
    """Feed `count` inputs, each to a session of its own that nobody proves a token to."""
    theatre = stage.Stage()
    process = psutil.Process(os.getpid())
    unpickled = failures = done = 0
    slowest, start = 0.0, 0
    loads, log = pickle.loads, logging.getLogger("bgpy.server")
    level = log.level

    def counted(data: Any, **options: Any) -> Any:
        nonlocal unpickled
        unpickled += len(data)
        return loads(data, **options)

    def watch(record: logging.LogRecord) -> bool:
        nonlocal failures
        failures += record.exc_info is not None
        return False

    pickle.loads = payload.loads = counted
    log.addFilter(watch)
    log.setLevel(logging.WARNING)
    try:
        for each in data:
            before = time.perf_counter()
            failures += not _played(theatre, each, done % 8)
            slowest = max(slowest, time.perf_counter() - before)
            done += 1
            if done == count // 10:
                start = process.memory_info().rss
            if done >= count:
                break
    finally:
        pickle.loads = payload.loads = loads
        log.removeFilter(watch)
        log.setLevel(level)
    return Play(done, unpickled, slowest, failures, process.memory_info().rss - start)


def _played(theatre: stage.Stage, data: bytes, size: int) -> bool:
    """Whether the session ended as it should; `size` is that of the pieces, 0 all at once."""
    session, pipe = theatre.session(os.urandom(32))
    step = size * size or len(data) or 1
    try:
        stage.hear(session, pipe, [data[at : at + step] for at in range(0, len(data), step)])
    except Exception:
        logging.getLogger("bgpy").exception("out of a session")
        return False
    return pipe.closed and not session.client_id
