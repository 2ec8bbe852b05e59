"""The names that code looks up in its module: what goes along with it, and what it depends on.

Not all names in a code object are among them: the others are attributes, and a script often has a
variable that is called as an attribute is. Names in the body of a class are, unless the class has
made them before: they are looked up there first.
"""

from __future__ import annotations

from collections.abc import Collection
from types import CodeType, ModuleType
from typing import Any

from bgpy.codec.identities import Identities
from bgpy.late import once

_OF_MODULES = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"}
_OF_CLASSES_FIRST = {"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_OF_CLASSES = {"__name__", "__annotations__", "__conditional_annotations__"}
"""What Python itself looks up in each of their bodies."""

_known: Identities[tuple[str, ...]] = Identities()


def names_in(code: CodeType) -> tuple[str, ...]:
    """The names that `code`, and the code within it, looks up in its module, in their order."""
    known = _known.get(code)
    if known is None:
        names = _own(code)
        for each in code.co_consts:
            if isinstance(each, CodeType):
                names += names_in(each)
        known = tuple(dict.fromkeys(names))
        _known.put(code, known)
    return known


def _own(code: CodeType) -> list[str]:
    names: list[str] = []
    made = set(_OF_CLASSES)
    for each in _dis().get_instructions(code):
        if each.opname == "STORE_NAME":
            made.add(each.argval)
        elif each.opname in _OF_MODULES or (
            each.opname in _OF_CLASSES_FIRST and each.argval not in made
        ):
            names.append(each.argval)
    return names


def attributes_set_in(code: CodeType) -> set[str]:
    """The attributes that `code`, and the code within it, sets, of whatever object."""
    names = {each.argval for each in _dis().get_instructions(code) if each.opname == "STORE_ATTR"}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            names |= attributes_set_in(each)
    return names


def steps_without(code: CodeType, names: Collection[str]) -> list[tuple[Any, ...]]:
    """The instructions of `code` but for what makes the values that are set as `names`.

    Each as its name and argument, and the constant that it loads, if it loads one.
    """
    dis = _dis()
    instructions = list(dis.get_instructions(code))
    steps: list[tuple[Any, ...]] = []
    for each, following in zip(instructions, [*instructions[1:], None], strict=True):
        if following is not None and following.opname == "STORE_NAME" and following.argval in names:
            continue
        if each.opcode in dis.hasconst:
            steps.append((each.opname, code.co_consts[each.arg or 0]))
        else:
            steps.append((f"{each.opname} {each.arg}",))
    return steps


@once
def _dis() -> ModuleType:
    """`dis`: 1 to 3 ms that most programs never need."""
    import dis

    return dis
