"""Exceptions across the wire: as their own type where that can be."""

from __future__ import annotations

import errno
import json
import sys
import threading
import traceback
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec.failures import Description, RemoteTraceback, describe, rebuild
from bgpy.errors import (
    BgpyError,
    CallTimeout,
    DecodeError,
    NotRunning,
    RemoteError,
    ServerGone,
    StartupError,
)
from tests.support.packed import Packed


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def _rebuild(described: Description) -> Exception:
    packed = Packed(*(described.payload or (b"", (), False)))
    return rebuild(described.type_name, described.text, described.traceback, *packed)


def _there(error: BaseException) -> Exception:
    return _rebuild(describe(_raised(error)))


class Plain(Exception):
    """One of the user's."""


class Custom(Exception):
    """Takes something else than it hands to its base."""

    def __init__(self, code: int, *, hint: str = "") -> None:
        super().__init__(f"failed with code {code}")
        self.code = code
        self.hint = hint


class TwoNeeded(Exception):
    """Can't be made of its own `args`."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.sum = one + two


class Keywords(Exception):
    """Takes nothing by position."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class Reduced(Exception):
    """Says itself how it is made."""

    def __init__(self, code: int) -> None:
        super().__init__(f"failed with code {code}")
        self.code = code

    def __reduce__(self) -> Any:
        return Reduced, (self.code,)


class Missing(OSError):
    """An error of the system with a constructor of its own."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "gone", path)
        self.path = path


class Outer:
    """A class with an exception in it."""

    class Inner(Exception):
        """Found by its qualified name."""


def _json_error() -> Exception:
    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError


SAME = [
    ValueError("why"),
    ValueError(),
    KeyError("missing"),
    ValueError(1, "two", [3]),
    OSError(errno.ENOENT, "No such file", "name"),
    PermissionError(errno.EACCES, "denied"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    SyntaxError("bad", ("file.py", 1, 2, "text")),
    ImportError("no", name="x", path="/y"),
    StopIteration(5),
    ExceptionGroup("several", [ValueError(1), KeyError("x")]),
    _json_error(),
    Plain("why"),
    Custom(3, hint="try"),
    TwoNeeded(1, 2),
    Keywords(code=4),
    Reduced(5),
    Missing("/no/such"),
    Outer.Inner("inside"),
    StartupError("could not"),
]


@pytest.mark.parametrize("error", SAME, ids=lambda error: type(error).__name__)
def test_rebuild_gives_the_same_exception_when_its_class_is_here(error: Exception) -> None:
    """Type, message, arguments and attributes: `except` works as on the other side."""
    rebuilt = _there(error)
    assert type(rebuilt) is type(error)
    assert str(rebuilt) == str(error)
    assert repr(rebuilt.args) == repr(error.args)
    marked = {"remote": True} if isinstance(error, BgpyError) else {}
    assert repr(vars(rebuilt)) == repr({**vars(error), **marked})


def test_rebuild_gives_the_systems_errors_their_fields() -> None:
    """`errno` and `filename` are no part of `args` alone."""
    for error in (FileNotFoundError(errno.ENOENT, "gone", "/no/such"), Missing("/no/such")):
        rebuilt = _there(error)
        assert isinstance(rebuilt, OSError)
        assert (rebuilt.errno, rebuilt.filename) == (errno.ENOENT, "/no/such")


def test_rebuild_keeps_attributes_and_notes_when_the_exception_has_some() -> None:
    """What was added to the exception after it was made travels too."""
    error = CallTimeout.at("started", "too late")
    error.add_note("tried twice")
    rebuilt = _there(error)
    assert isinstance(rebuilt, CallTimeout)
    assert rebuilt.progress == "started"
    assert rebuilt.__notes__ == ["tried twice"]
    assert "tried twice" in "".join(traceback.format_exception(rebuilt))


def test_rebuild_shows_the_remote_traceback_as_the_cause() -> None:
    """With the chain that the exception had over there."""
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as error:
        described = describe(error)
    rebuilt = _rebuild(described)
    assert isinstance(rebuilt.__cause__, RemoteTraceback)
    printed = "".join(traceback.format_exception(rebuilt))
    order = ["KeyError: 'first'", "direct cause", "ValueError: second", "direct cause"]
    at = [printed.index(order[0])]
    for text in order[1:]:
        at.append(printed.index(text, at[-1] + 1))
    assert printed.rstrip().endswith("ValueError: second")
    assert "test_failures.py" in described.traceback


class Unpicklable(Exception):
    """Holds something that can't travel."""


class RaisesWhenMade(Exception):
    """Can't be made again at all."""

    def __new__(cls, *args: Any) -> RaisesWhenMade:
        if args != ("the first time",):
            raise RuntimeError("no second one")
        return super().__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        super().__init__("changed")


def _with_lock_inside() -> Exception:
    error = Unpicklable("why")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    return error


WORDS = [
    (Unpicklable(threading.Lock()), "Unpicklable"),
    (_with_lock_inside(), "Unpicklable"),
    (RaisesWhenMade("the first time"), "RaisesWhenMade"),
    (SystemExit(3), "SystemExit"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (BaseExceptionGroup("several", [SystemExit(1)]), "BaseExceptionGroup"),
]


@pytest.mark.parametrize(("error", "name"), WORDS)
def test_rebuild_tells_in_words_when_the_exception_cannot_travel(
    error: BaseException, name: str
) -> None:
    """Type, message and traceback get through as text; a `BaseException` ends nobody."""
    rebuilt = _there(error)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name.endswith(name)
    assert rebuilt.message == str(error)
    assert str(rebuilt).startswith(rebuilt.type_name)
    assert name in rebuilt.traceback


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that can be taken away."""
    module = ModuleType("only_over_there")
    exec("class Theirs(Exception): pass", vars(module))
    module.Theirs.__module__ = "only_over_there"
    monkeypatch.setitem(sys.modules, "only_over_there", module)
    return module


@pytest.mark.parametrize("what", ["module", "class", "no exception"])
def test_rebuild_tells_in_words_when_the_class_is_not_here(
    elsewhere: ModuleType, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Nothing is lost but the type."""
    described = describe(_raised(elsewhere.Theirs("why")))
    if what == "module":
        monkeypatch.delitem(sys.modules, "only_over_there")
    elif what == "class":
        monkeypatch.delattr(elsewhere, "Theirs")
    else:
        monkeypatch.setattr(elsewhere, "Theirs", dict)
    rebuilt = _rebuild(described)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name == "only_over_there.Theirs"
    assert rebuilt.message == "why"
    assert isinstance(rebuilt, BgpyError)


class Unprintable(Exception):
    """Fails at everything, and not with an `Exception`."""

    def __str__(self) -> str:
        raise SystemExit("can't be printed")

    __repr__ = __str__

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise SystemExit("can't be pickled")


def test_describe_finds_words_when_the_exception_fails_at_everything() -> None:
    """What the user's code does here can't end the server."""
    described = describe(_raised(Unprintable()))
    assert "Unprintable" in described.type_name
    assert "can't be made" in described.text
    assert "test_failures.py" in described.traceback


def test_describe_names_builtins_without_their_module() -> None:
    """As Python prints them."""
    assert describe(KeyError("x")).type_name == "KeyError"
    assert describe(Outer.Inner()).type_name == f"{__name__}.Outer.Inner"


def test_rebuild_has_no_cause_when_no_traceback_came() -> None:
    """A failure of the server's own brings none."""
    rebuilt = rebuild("some.Error", "why", "", b"", [], False)
    assert rebuilt.__cause__ is None
    assert str(rebuilt) == "some.Error: why"


OWN = [
    ServerGone.at("not started", "its own server has gone"),
    ServerGone.at("unknown", "its own server has gone"),
    CallTimeout.at("started", "its own call took too long"),
    NotRunning("its own server doesn't run"),
    DecodeError("its own reply can't be rebuilt"),
]


@pytest.mark.parametrize("error", OWN)
def test_rebuild_marks_an_error_of_bgpys_as_remote_and_keeps_its_progress(
    error: BgpyError,
) -> None:
    """A task raised it, of a client of its own: it says nothing of the connection here."""
    there = _there(error)
    assert isinstance(there, type(error))
    assert there.remote
    assert not error.remote
    assert getattr(there, "progress", None) == getattr(error, "progress", None)
    assert str(there) == str(error)
