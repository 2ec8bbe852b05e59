"""What an exception holds of classes that can't be imported here, so that the exception arrives.

Only for the members of exceptions: anything else that can't be rebuilt is a `DecodeError`.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

from bgpy.codec.renamed import find
from bgpy.system.strikes import is_strike_amid


class Absent:
    """Stands for an object of such a class, or for what such a function gives."""

    name = ""
    """What can't be imported, by module and name."""

    def __new__(cls, *args: Any, **keywords: Any) -> Absent:
        return named(cls.name)

    def __init__(self, *args: Any, **keywords: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{self.name}, which can't be imported here>"

    def __reduce__(self) -> Any:
        return named, (self.name,)

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, element: Any) -> None:
        """Take an element of a list: pickles give those to what has been made."""

    def extend(self, elements: Any) -> None:
        """Take several."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of a dict."""


def named(name: str) -> Absent:
    """A stand-in for what that names; pickles call this by its name."""
    made = object.__new__(Absent)
    made.name = name
    return made


class _Unpickler(pickle.Unpickler):
    def __init__(self, head: bytes | memoryview) -> None:
        super().__init__(BytesIO(head))
        self.missing: dict[str, type[Absent]] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return find(module, name)
        except (ImportError, AttributeError) as error:
            if is_strike_amid(error):
                raise
            full = f"{module}.{name}"
            return self.missing.setdefault(full, type("Absent", (Absent,), {"name": full}))


def loads(head: bytes | memoryview) -> tuple[Any, list[str]]:
    """Rebuild a pickle with stand-ins for what can't be imported here, and name that."""
    unpickler = _Unpickler(head)
    made = unpickler.load()
    return made, sorted(unpickler.missing)
