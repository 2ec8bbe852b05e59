"""Seconds that something may take, and the moment at which they are over.

Whoever is given a time limit makes a deadline of it at once, and seconds of that again
wherever it waits. None stands for no limit, in both.
"""

from __future__ import annotations

from time import monotonic
from typing import overload


def deadline_in(seconds: float | None) -> float | None:
    """The moment, as `time.monotonic` tells it, at which `seconds` will be over."""
    return None if seconds is None else monotonic() + seconds


@overload
def seconds_left(deadline: float | None) -> float | None: ...


@overload
def seconds_left(deadline: float | None, without: float) -> float: ...


def seconds_left(deadline: float | None, without: float | None = None) -> float | None:
    """Seconds until `deadline`, 0 if it has passed; `without` where there is none."""
    return without if deadline is None else max(0.0, deadline - monotonic())


def is_over(deadline: float | None) -> bool:
    """Whether `deadline` has passed; never where there is none."""
    return deadline is not None and monotonic() >= deadline
