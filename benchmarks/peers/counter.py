"""The work as an object, for the peers that call methods."""

from __future__ import annotations

from typing import Any

from benchmarks.harness.settings import ARRAY_SIZE


def make_array() -> Any:
    """The large array: float64 0, 1, 2, ..."""
    import numpy  # servers that never see an array don't pay for it

    return numpy.arange(ARRAY_SIZE // 8, dtype=numpy.float64)


class Counter:
    """Counts what it is told, takes an array and gives one."""

    def __init__(self) -> None:
        self._value = 0
        self._array: Any = None

    def add(self, args: dict[str, int]) -> dict[str, int]:
        """Count and tell the count."""
        self._value += args["add"]
        return {"value": self._value}

    def put(self, array: Any) -> float:
        """Take an array; gives its last number."""
        return float(array[-1])

    def get(self) -> Any:
        """Give the array, always the same."""
        if self._array is None:
            self._array = make_array()
        return self._array
