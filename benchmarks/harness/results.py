"""The figures of one run: per figure and peer one number per round, or several of its turns.

Medians are over all of them. Ratios are made within each turn, between slices measured
a second or a few apart, before their median is taken.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """The median over the rounds, and the lowest and highest round."""

    median: float
    low: float
    high: float


def single(value: float) -> Spread:
    """A figure that is not one per round."""
    return Spread(value, value, value)


class Results:
    """Figures by name and peer."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, list[float | None]]] = {}
        self.versions: dict[str, str] = {}
        self.machine: dict[str, str] = {}
        self.about: dict[str, Any] = {}
        self.notes: list[str] = []

    def add(self, figure: str, peer: str, turn: int, value: float) -> None:
        """Keep the value of one turn, counted from 0."""
        values = self.figures.setdefault(figure, {}).setdefault(peer, [])
        values.extend([None] * (turn + 1 - len(values)))
        values[turn] = value

    def extend(self, figure: str, peer: str, values: list[float]) -> None:
        """Keep single samples, of which percentiles are taken over all rounds together."""
        self.figures.setdefault(figure, {}).setdefault(peer, []).extend(values)

    def note(self, text: str) -> None:
        """Keep a remark for the report, once."""
        if text not in self.notes:
            self.notes.append(text)

    def values(self, figure: str, peer: str) -> list[float]:
        """All values that were measured."""
        found = self.figures.get(figure, {}).get(peer, [])
        return [value for value in found if value is not None]

    def spread(self, figure: str, peer: str) -> Spread | None:
        """Median, lowest and highest; None if it was not measured."""
        return _spread(self.values(figure, peer))

    def ratio(self, figure: str, peer: str, base: str, of: str | None = None) -> Spread | None:
        """The peer's figure over that of `base`, round by round; `of` is another figure of it."""
        above = self.figures.get(figure, {}).get(peer, [])
        below = self.figures.get(of or figure, {}).get(base, [])
        pairs = zip(above, below, strict=False)
        return _spread([a / b for a, b in pairs if a is not None and b])

    def percentile(self, figure: str, peer: str, part: float) -> float | None:
        """The value below which that part of the samples lies."""
        values = sorted(self.values(figure, peer))
        return values[int(part * (len(values) - 1))] if values else None

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        """What `save` wrote."""
        results = cls()
        vars(results).update(json.loads(path.read_text(encoding="utf-8")))
        return results


def _spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values))
