"""What was asked, what was told of it, and whether that agrees with what ran.

Every call carries a number of its own, and its reply says that number again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from bgpy import CallTimeout, ConnectError, ServerGone, ServerRestarted

Told = Literal["value", "receipt", "not started", "started", "unknown", "failed"]
"""``failed``: the caller was struck, or the task was; it may have run."""

EXPECTED: dict[Told, tuple[int, ...]] = {
    "value": (1,),
    "receipt": (1,),
    "not started": (0,),
    "started": (1,),
    "unknown": (0, 1),
    "failed": (0, 1),
}


def what_is_told(error: BaseException) -> Told:
    """What an error says of the call that raised it; one of the task's says nothing."""
    if getattr(error, "remote", False):
        return "failed"
    if isinstance(error, (ConnectError, ServerRestarted)):
        return "not started"
    if isinstance(error, (CallTimeout, ServerGone)):
        return error.progress
    return "failed"


class Book:
    """Of one process; any of its threads may write, each under numbers that it took."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._told: dict[int, Told] = {}
        self._said: dict[int, str] = {}
        """The errors, as texts, by the number of their call."""
        self._wrong: list[str] = []

    def take(self) -> int:
        """A number for a call, of which nothing is known yet."""
        number = next(self._numbers)
        self._told[number] = "failed"
        return number

    def value(self, number: int, value: Any) -> None:
        """The call gave `value`."""
        if value == {"id": number}:
            self._told[number] = "value"
        else:
            self._wrong.append(f"call {number} was answered with {value!r}")

    def receipt(self, number: int, value: Any) -> None:
        """The server has the call, and will run it."""
        if value == {"message": "Received 'EXEC'"}:
            self._told[number] = "receipt"
        else:
            self._wrong.append(f"execute {number} was answered with {value!r}")

    def error(self, number: int, error: BaseException) -> None:
        """The call raised `error`."""
        self._told[number], self._said[number] = what_is_told(error), repr(error)

    def wrong(self, text: str) -> None:
        """Something happened that must not."""
        self._wrong.append(text)

    @property
    def wrongs(self) -> list[str]:
        """What was found wrong so far, whatever ran."""
        return list(self._wrong)

    def counts(self) -> dict[str, int]:
        """How many calls ended in which way."""
        return dict(sorted(Counter(self._told.values()).items()))

    def owed(self, ran: Mapping[int, int]) -> list[int]:
        """Calls that have not run yet and have to: their receipt was given, or they started."""
        told = list(self._told.items())
        return [each for each, what in told if what in ("receipt", "started") and each not in ran]

    def faults(self, ran: Mapping[int, int]) -> list[str]:
        """Where `ran`, how often the server ran each number, contradicts what was told."""
        found = list(self._wrong)
        for number, told in list(self._told.items()):
            times = ran.get(number, 0)
            if times not in EXPECTED[told]:
                found.append(
                    f"call {number}: {told}, and it ran {times} times {self._said.get(number, '')}"
                )
        found += [f"call {number} ran, and nobody made it" for number in ran.keys() - self._told]
        return found
