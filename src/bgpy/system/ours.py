"""Which code is bgpy's own, and which is the program's that uses it."""

from __future__ import annotations

_HOUSE = __name__.partition(".")[0]
_EXAMPLE = f"{_HOUSE}.example"


def is_ours(module: object) -> bool:
    """Whether the module of that name (a frame's ``__name__``, say) is bgpy's own.

    The example's functions are not: they stand for a program's.
    """
    return f"{module}.".startswith(f"{_HOUSE}.") and not f"{module}.".startswith(f"{_EXAMPLE}.")
