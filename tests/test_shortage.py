"""Truths of shortages: known by their numbers, or by trying."""

from __future__ import annotations

import errno
import sys
from unittest import mock

import pytest

from bgpy import shortage as module
from bgpy.errors import StartupError
from bgpy.shortage import no_descriptor, room_advice, shortage


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EMFILE, "this program has no file descriptor"),
        (errno.ENFILE, "this system has no room"),
        (errno.ENOBUFS, "memory"),
        (errno.ENOMEM, "memory"),
    ],
)
def test_shortage_is_told_when_an_error_has_its_number(number: int, word: str) -> None:
    """Each says what there is none of, and what to do."""
    found = shortage(OSError(number, "text"))
    assert found is not None
    assert word in found.problem
    assert found.advice


def test_shortage_is_found_when_another_error_was_made_of_it() -> None:
    """What a file was refused for stands in the cause of a cause."""
    made = StartupError("lock can't be used")
    made.__cause__ = StartupError("guard can't be used")
    made.__cause__.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert shortage(made) == shortage(OSError(errno.EMFILE, ""))


@pytest.mark.parametrize("error", [OSError(errno.ECONNREFUSED, ""), OSError("x"), ValueError(24)])
def test_shortage_is_none_when_the_error_is_another(error: Exception) -> None:
    """What says something about the server stays what it is."""
    assert shortage(error) is None


@pytest.mark.skipif(sys.platform == "win32", reason="the null device is opened otherwise")
def test_no_descriptor_tells_when_nothing_can_be_opened() -> None:
    """It tries, and says nothing where that succeeds."""
    assert no_descriptor() is None
    with mock.patch.object(module.os, "open", side_effect=OSError(errno.EMFILE, "")):
        assert no_descriptor() == shortage(OSError(errno.EMFILE, ""))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room on that disk"),
        (getattr(errno, "EDQUOT", errno.ENOSPC), "make room on that disk"),
        (errno.EMFILE, "raise the limit"),
        (errno.EACCES, None),
    ],
)
def test_room_advice_is_of_what_there_is_none_of(number: int, advice: str | None) -> None:
    """None where the file or its place is at fault."""
    found = room_advice(OSError(number, "text"))
    assert found is None if advice is None else advice in str(found)
