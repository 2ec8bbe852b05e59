"""Gates between threads: a lock that one thread waits at and another opens."""

from __future__ import annotations

import threading


def closed_gate() -> threading.Lock:
    """A lock as a gate: whoever acquires it waits until another thread opens it."""
    gate = threading.Lock()
    gate.acquire()
    return gate


def open_gate(gate: threading.Lock) -> None:
    """Let one through; no matter if it is open already."""
    try:
        gate.release()
    except RuntimeError:
        pass  # open already
