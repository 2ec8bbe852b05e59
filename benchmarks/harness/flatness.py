"""Is a series of samples flat, or does it grow?

Memory comes in steps and neighbouring samples hang together, so the first quarter is left out
as a warm-up and the rest is cut into blocks, whose means are as good as independent. A line
through them is *growth* if both hold: its slope is above 0 beyond chance (one-sided t test,
1 %), and what it means over the whole time is more than a tolerance, below which nobody would
care.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

BLOCKS = 12
T_99 = 2.764
"""Of Student's t with `BLOCKS` - 2 degrees of freedom: exceeded by chance once in 100 times."""


class Trend(NamedTuple):
    """A line through the samples."""

    start: float
    growth: float
    """What the line rises by over the time that is looked at."""
    beyond_chance: bool

    def is_flat(self, tolerance: float) -> bool:
        """Whether it doesn't grow, or by no more than `tolerance`."""
        return not (self.beyond_chance and self.growth > tolerance)


def trend(samples: Sequence[float]) -> Trend:
    """The trend of samples taken at even distances; raises `ValueError` for too few."""
    kept = samples[len(samples) // 4 :]
    size = len(kept) // BLOCKS
    if size < 1:
        raise ValueError(f"{len(samples)} samples tell nothing: at least {2 * BLOCKS} do")
    means = [fmean(kept[block * size : (block + 1) * size]) for block in range(BLOCKS)]
    times = [block - (BLOCKS - 1) / 2 for block in range(BLOCKS)]
    middle, spread = fmean(means), sum(time * time for time in times)
    slope = sum(time * mean for time, mean in zip(times, means, strict=True)) / spread
    left = sum((mean - middle - slope * time) ** 2 for time, mean in zip(times, means, strict=True))
    error = (left / (BLOCKS - 2) / spread) ** 0.5
    growth = slope * (BLOCKS - 1)
    return Trend(middle - growth / 2, growth, slope > T_99 * error)
