"""Names of other Pythons' standard libraries: read as those of this one."""

from __future__ import annotations

import genericpath
import math
import os
import pathlib
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from bgpy.codec import renamed
from bgpy.codec.failures import describe, rebuild
from bgpy.codec.payload import decode, encode, within
from bgpy.errors import DecodeError
from tests.support.packed import Packed

MOVED = [
    ("pathlib._local", "PurePosixPath", pathlib.PurePosixPath),  # 3.13
    ("re", "PatternError", re.error),  # from 3.13 on
    ("re", "prefixmatch", re.match),  # from 3.15 on
    ("math.integer", "gcd", math.gcd),  # from 3.15 on
    ("zipfile._path", "Path", zipfile.Path),  # from 3.12 on
    ("genericpath", "isjunction_of_tomorrow", None),
    ("genericpath", "islink", getattr(genericpath, "islink", os.path.islink)),  # from 3.12 on
]


def _named(module: str, name: str) -> bytes:
    """A pickle of what some Python calls so, made by hand: not every Python can."""
    return b"\x80\x05" + _text(module) + _text(name) + b"\x93."


def _text(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize(("module", "name", "here"), MOVED)
def test_decode_finds_what_another_python_calls_otherwise(
    module: str, name: str, here: Any
) -> None:
    """Whichever Python made the pickle; what no Python has is an error still."""
    if here is None:
        with pytest.raises(DecodeError, match=name):
            decode(_named(module, name), [], False, "args")
    else:
        assert decode(_named(module, name), [], False, "args") is here


def test_rebuild_gives_the_exception_when_its_class_is_called_otherwise_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So `except re.error` works for a task of 3.13, too."""
    names = re.error.__name__, re.error.__qualname__
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(re, "PatternError", re.error, raising=False)
        re.error.__name__ = re.error.__qualname__ = "PatternError"
        try:
            told = describe(re.error("nothing to repeat", "*", 0))
        finally:
            re.error.__name__, re.error.__qualname__ = names
    assert told.type_name == "re.PatternError"
    assert told.payload is not None
    error = rebuild(told.type_name, told.text, told.traceback, *Packed(*told.payload))
    assert (type(error), str(error)) == (re.error, "nothing to repeat at position 0")


def test_within_keeps_names_readable_when_a_pickle_is_inside_another() -> None:
    """A message with many buffers is a pickle in a pickle."""
    large = [bytearray(2**17) for _ in range(3)]
    head, buffers, _ = within(encode([pickle.PickleBuffer(each) for each in large], "args"), 1)
    assert len(buffers) == 1
    inner = _named("pathlib._local", "PurePosixPath")
    packed = pickle.dumps(_Inside(inner), 5)
    assert decode(packed, [], False, "args") is pathlib.PurePosixPath
    assert decode(head, buffers, False, "args") == large


class _Inside:
    """A pickle that is rebuilt as `within` has it rebuilt."""

    def __init__(self, inner: bytes) -> None:
        self._inner = inner

    def __reduce__(self) -> tuple[Any, ...]:
        from bgpy.codec.payload import _unnested

        return _unnested, ([self._inner], [])


@pytest.fixture
def loaded() -> Iterator[list[str]]:
    """Which pickles were loaded."""
    LOADED.clear()
    yield LOADED
    LOADED.clear()


LOADED: list[str] = []


def _note(text: str) -> None:
    LOADED.append(text)


class Counted:
    """Tells when it is rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _note, ("once",)


def test_decode_loads_once_when_no_name_is_of_another_python(loaded: list[str]) -> None:
    """What is missing for other reasons is not tried again: loading runs code."""
    packed = pickle.dumps(Counted(), 2)[:-1] + _named("no_such_module_at_all", "Thing")[2:]
    with pytest.raises(DecodeError, match="no_such_module_at_all"):
        decode(packed, [], False, "args")
    assert loaded == ["once"]


def test_find_says_what_is_missing_when_no_python_has_it() -> None:
    """As an import does."""
    with pytest.raises(AttributeError):
        renamed.find("sys", "no_such_name")
    with pytest.raises(ImportError):
        renamed.find("no_such_module_at_all", "Thing")
    assert renamed.find("sys", "version_info") is sys.version_info
