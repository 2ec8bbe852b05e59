"""What closures and objects hold in themselves, without running any code of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from types import CellType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from bgpy.system.strikes import is_strike_amid


def held_in(cell: CellType) -> Any:
    """What a cell of a closure holds, or one that is empty itself."""
    try:
        return cell.cell_contents
    except ValueError as error:
        if is_strike_amid(error):
            raise
        return cell


def held_by(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object that are in itself, by name, not those of classes in C."""
    for kind in type(value).__mro__:
        for name, place in list(vars(kind).items()):
            if type(place) is MemberDescriptorType and "__slots__" in vars(kind):
                held = _taken_from(place, value)
                if held is not place:
                    yield name, held
            elif name == "__dict__" and type(place) is GetSetDescriptorType:
                for each, held in list(place.__get__(value).items()):
                    if type(each) is str:
                        yield each, held


def _taken_from(place: MemberDescriptorType, value: Any) -> Any:
    """What a slot holds, or an empty one itself."""
    try:
        return place.__get__(value)
    except AttributeError as error:
        if is_strike_amid(error):
            raise
        return place
