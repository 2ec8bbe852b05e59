"""What can't travel of an exception's parts stays behind, and a note on the exception names it.

An attribute, slot or field that can't be pickled is left out. An argument has its place, so there
a `StandIn` goes, with the same text: the exception's own is mostly made from its arguments.

Whether something travels is found by pickling it alone. It may hold other exceptions, which are
sorted in the same way, each once; where it leads back to one that is just being sorted, that one
is taken for travelling, as each exception does that has been sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bgpy.codec.revival import StandIn
from bgpy.codec.worded import text_of
from bgpy.system.strikes import is_strike_amid

LONGEST_SHOWN = 2**16
"""Characters of what is shown of an argument that stays behind."""


class Parts(NamedTuple):
    """What an exception is made of."""

    given: tuple[Any, ...]
    """What its class is called with."""
    args: tuple[Any, ...]
    attributes: dict[str, Any]
    held: dict[tuple[str, str], Any]
    """Slots and fields, by class and name."""
    left: tuple[str, ...] = ()
    """What was left behind."""
    text: str | None = None
    """What the exception says, if something was; None where its class can't make that."""


UNSORTED = Parts((), (), {}, {})


class Sorting:
    """Sorts the parts of exceptions that go into one pickle."""

    def __init__(self, travels: Callable[[Any], bool]) -> None:
        """`travels` tells of an object whether it can be pickled; it may come back here."""
        self.travels = travels
        self._sorted: dict[int, tuple[BaseException, Parts]] = {}  # with what keeps the id

    def of(self, error: BaseException, parts: Parts) -> Parts:
        """The parts of `error` that travel; those that it has are `parts`."""
        known = self._sorted.get(id(error))
        if known is None:
            self._sorted[id(error)] = error, UNSORTED  # until it is known
            try:
                known = error, self._sort(error, parts)
            except BaseException:  # too deep by now: who holds it leaves it behind
                del self._sorted[id(error)]
                raise
            self._sorted[id(error)] = known
        return known[1]

    def _sort(self, error: BaseException, parts: Parts) -> Parts:
        left: list[str] = []
        places: dict[int, Any] = {}  # what is an argument twice has one stand-in

        def argument(number: int, value: Any) -> Any:
            if id(value) not in places:
                places[id(value)] = value
                if not self.travels(value):
                    left.append(f"argument {number} ({_kind(value)})")
                    places[id(value)] = StandIn(_text(repr, value), _text(str, value))
            return places[id(value)]

        def those(members: dict[Any, Any], name: Callable[[Any], str]) -> dict[Any, Any]:
            kept = {key: value for key, value in members.items() if self.travels((key, value))}
            gone = members.keys() - kept.keys()
            left.extend(
                f"attribute {name(key)!r} ({_kind(members[key])})" for key in members if key in gone
            )
            return kept

        args = tuple(argument(number, value) for number, value in enumerate(parts.args, 1))
        given = tuple(argument(number, value) for number, value in enumerate(parts.given, 1))
        attributes = those(parts.attributes, str)
        held = those(parts.held, lambda key: str(key[1]))
        return Parts(given, args, attributes, held, tuple(left), text_of(error) if left else None)


def noted(parts: Parts) -> dict[str, Any]:
    """The attributes, with a note of what was left behind."""
    if not parts.left:
        return parts.attributes
    notes = parts.attributes.get("__notes__")
    told = f"left behind where it was raised, since it can't be pickled: {', '.join(parts.left)}"
    return parts.attributes | {"__notes__": [*(notes if isinstance(notes, list) else ()), told]}


def _kind(value: Any) -> str:
    kind = type(value)
    told = kind.__qualname__
    return told if kind.__module__ == "builtins" else f"{kind.__module__}.{told}"


def _text(made: Callable[[Any], str], value: Any) -> str:
    try:
        return made(value)[:LONGEST_SHOWN]
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return f"<{_kind(value)}>"
