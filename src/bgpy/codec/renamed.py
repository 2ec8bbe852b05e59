"""What another Python's standard library calls by a name that this one's doesn't know.

A pickle names classes and functions as the Python that made it does, and some have moved
between two versions: a `pathlib.Path` of 3.13 is one of ``pathlib._local``, a `re.error`
``PatternError``. Where loading a pickle fails over such a name, it is loaded once more with
the names of this Python; a pickle of the same Python never is.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from bgpy.system.strikes import is_strike_amid

_MODULES = {
    "genericpath": "os.path",
    "importlib.resources._functional": "importlib.resources",
    "importlib.resources._legacy": "importlib.resources",
    "math.integer": "math",
    "pathlib._abc": "pathlib",
    "pathlib._local": "pathlib",
    "zipfile._path": "zipfile",
}
"""Modules that some Pythons have, and what has their public names in all."""

_NAMES = {("re", "PatternError"): "error", ("re", "prefixmatch"): "match"}
"""By module and name in some Pythons, the name in all."""

_TRACES = tuple(name.encode() for name in (*_MODULES, *(name for _, name in _NAMES)))


def names_any(head: bytes | memoryview) -> bool:
    """Whether a pickle may name something that is called otherwise in another Python."""
    text = bytes(head)
    return any(trace in text for trace in _TRACES)


def loads(head: bytes | memoryview, buffers: Sequence[memoryview]) -> Any:
    """As `pickle.loads`, by the names of this Python."""
    return _Unpickler(BytesIO(head), buffers=buffers).load()


def find(module: str, qualname: str) -> Any:
    """What is called so here, or was called so where it comes from.

    Raises `ImportError` or `AttributeError` if there is no such thing.
    """
    try:
        return _get(module, qualname)
    except (ImportError, AttributeError) as error:
        if is_strike_amid(error):
            raise
        name = _NAMES.get((module, qualname), qualname)
        other = _MODULES.get(module, module)
        if (other, name) == (module, qualname):
            raise
        return _get(other, name)


def _get(module: str, qualname: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return find(module, name)
