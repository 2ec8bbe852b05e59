"""Members of exceptions whose classes can't be imported here."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import absent
from bgpy.codec.exceptions import pack, unpack

SOURCE = """
import collections
class Response:
    def __init__(self): self.status = 404
class Rows(list): pass
class Table(dict): pass
class Needs:
    def __new__(cls, size): return super().__new__(cls)
    def __getnewargs__(self): return (1,)
def make(): return Made()
class Made:
    def __reduce__(self): return make, ()
"""
KINDS = ["Response()", "Rows([1, 2])", "Table(a=1)", "Needs(1)", "Made()", "Response", "make"]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A library that the test can take away."""
    module = ModuleType("library_over_there")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize("made", KINDS)
def test_stand_ins_take_the_place_of_what_cannot_be_imported(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """However pickle makes it; the rest is as it was."""
    head = pickle.dumps([1, eval(made, vars(library)), {"two": 2}], 5)
    assert absent.loads(head)[1] == []
    monkeypatch.delitem(sys.modules, library.__name__)
    (one, stand_in, two), missing = absent.loads(head)
    assert (one, two) == (1, {"two": 2})
    assert "can't be imported here" in repr(stand_in) or issubclass(stand_in, absent.Absent)
    assert all(name.startswith("library_over_there.") for name in missing)
    assert missing


@pytest.mark.parametrize("by_value", [False, True])
def test_exception_arrives_without_the_library_of_its_member(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch, by_value: bool
) -> None:
    """As its type, with a note; not if the library is its own."""
    error: Any = ValueError("refused")
    error.response, error.code = library.Response(), 404
    error.add_note("mine")
    if by_value:
        error.again = lambda: 5
    packed = pack(error)
    assert packed is not None
    assert packed[1] is by_value
    monkeypatch.delitem(sys.modules, library.__name__)
    there: Any = unpack(packed, None)
    assert (type(there), str(there), there.code) == (ValueError, "refused", 404)
    assert repr(there.response) == "<library_over_there.Response, which can't be imported here>"
    assert there.__notes__ == [
        "mine",
        "can't be imported where this has arrived: library_over_there.Response",
    ]
