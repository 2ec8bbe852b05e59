"""Objects that let nobody compare, hash or test them, or ask what they are."""

from __future__ import annotations

from typing import Any, NoReturn


def refuse(*_: object) -> NoReturn:
    """What each of their methods does: not an `AttributeError`, which many would catch."""
    raise RuntimeError("nobody may ask this")


class TouchyType(type):
    """A metaclass whose classes can't be compared; Python itself takes their hash."""

    __eq__ = refuse  # type: ignore[assignment]
    __hash__ = type.__hash__
    __bool__ = refuse


class Touchy(metaclass=TouchyType):
    """As a proxy of something that is not there now, or an array of which none is true."""

    __eq__ = refuse  # type: ignore[assignment]
    __hash__ = refuse  # type: ignore[assignment]
    __bool__ = refuse
    __len__ = refuse
    __getattr__ = refuse
    __class__ = property(refuse)  # type: ignore[assignment]


class TouchyError(Exception):
    """An exception of that kind, with a value that it compares with."""

    __eq__ = refuse  # type: ignore[assignment]
    __hash__ = refuse  # type: ignore[assignment]
    __bool__ = refuse

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
