"""How long a run measures. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass

ARRAY_SIZE = 64 * 2**20
"""Bytes of the large array."""
BATCH = 500
"""Calls under way at once where calls are pipelined."""
SETTLING = 1.0
"""Seconds that clients at once call before their calls count.

A hundred processes that are woken at once take most of it until each has had its turn.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run; each slice is measured once per peer and round, and those of length 0 never."""

    rounds: int
    calls: float
    """Length of a slice of calls, one after another or pipelined."""
    turns: int = 1
    """How often a round repeats them, so that what else the machine does strikes all peers."""
    connects: float = 0.0
    """Length of a slice of connections, one after another, each with one call."""
    crowds: tuple[int, ...] = ()
    """Numbers of clients at once."""
    crowd: float = 0.0
    """Length of a slice of clients at once, after `SETTLING`."""
    pinned_only: bool = False
    """Leave out calls that are free to use all cores."""
    all_free: bool = False
    """Measure arrays and the largest crowd also free to use all cores."""
    arrays: int = 0
    """Large arrays per slice and direction."""
    pings: float = 0.0
    """Length of a slice of pings to a busy server."""
    programs: int = 0
    """Runs of each short program per round."""
    idle_clients: int = 0
    memory: bool = False
    """Measure the servers' memory after their first call."""


FULL = Settings(
    rounds=9,
    calls=0.15,
    turns=3,
    connects=0.2,
    crowds=(10, 100),
    crowd=0.8,
    all_free=True,
    arrays=3,
    pings=1.5,
    programs=3,
    idle_clients=5000,
    memory=True,
)
QUICK = Settings(
    rounds=2,
    calls=0.1,
    connects=0.05,
    crowds=(100,),
    crowd=0.25,
    all_free=False,
    arrays=2,
    pings=0.4,
    programs=2,
    idle_clients=1000,
    memory=True,
)
ROAD = Settings(rounds=9, calls=0.15, turns=4, crowds=(100,), crowd=1.0, pinned_only=True)
"""What the bars of a small call need; the number of rounds is the caller's."""
