"""Ends a process in which nothing moves any more, and shows where all its threads stand."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from time import monotonic

HUNG = 70
"""The exit code of a process that hung."""
LONG = 25.0
"""Seconds for a step; two calls that run out of their time take less."""


class Watch:
    """Hears of each step; the next one has to come in time."""

    def __init__(self, what: str, seconds: float = LONG) -> None:
        self._what, self._seconds = what, seconds
        self._step, self._since = "beginning", monotonic()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def step(self, name: str) -> None:
        """`name` begins now."""
        self._step, self._since = name, monotonic()

    def _look(self) -> None:
        pause = threading.Event()
        while monotonic() < self._since + self._seconds:
            pause.wait(0.2)
        print(f"HANG: {self._what}: {self._step}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(HUNG)
