"""Exceptions across the wire: as their own type where that can be."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copyreg
import errno
import itertools
import json
import sys
import threading
import traceback
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bgpy.codec.failures import Description, RemoteTraceback, alone, describe, rebuild
from bgpy.codec.payload import encode
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


@dataclass(frozen=True)
class Frozen(Exception):
    """Lets nobody set anything, not even its cause."""

    code: int
    hint: str = "none"


@dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    """The same, without a place for it in `__dict__`."""

    code: int


@dataclass
class Mutable(Exception):
    """Can't be hashed, and its `args` are what was given by position."""

    items: list[int]


class Slotted(Exception):
    """Pickle loses what stands in slots."""

    __slots__ = ("one", "two")

    def __init__(self, one: int, two: int) -> None:
        self.one = one
        self.two = two

    def __str__(self) -> str:
        return f"{self.one} and {self.two}"


class Private(Slotted):
    """A slot whose name is mangled, below one with slots."""

    __slots__ = ("__three",)

    def __init__(self, three: int) -> None:
        super().__init__(1, 2)
        self.__three = three

    def __str__(self) -> str:
        return f"{self.one}, {self.two}, {self.__three}"


class Sets(Exception):
    """Has a state of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __getstate__(self) -> object:
        return (self.code,)

    def __setstate__(self, state: Any) -> None:
        (self.code,) = state


def _elsewise(code: int) -> Elsewise:
    return Elsewise(code)


class Elsewise(Exception):
    """Is made by a function."""

    def __init__(self, code: int) -> None:
        super().__init__("code", code, "!")
        self.code = code

    def __reduce__(self) -> Any:
        return _elsewise, (self.code,)


class Arrays(Exception):
    """Its arguments can't be compared to a truth."""


class Holder(Exception):
    """Holds other exceptions, which pickle itself could not rebuild."""

    def __init__(self, inner: Exception, others: list[Exception]) -> None:
        super().__init__("holder", inner)
        self.others = others


class NewTakesMore(Exception):
    """Takes two arguments already when it is made, and hands on none."""

    def __new__(cls, one: int, two: int) -> NewTakesMore:
        return super().__new__(cls)

    def __init__(self, one: int, two: int) -> None:
        self.sum = one + two


class Kept(Exception):
    """Says how it is pickled, in a way that fails."""

    def __init__(self, code: int) -> None:
        super().__init__(code)

    def __reduce__(self) -> Any:
        raise RuntimeError("not this one")


class Outer:
    """A class with an exception in it."""

    class Inner(Exception):
        """Found by its qualified name."""


class Unpicklable(Exception):
    """Holds something that can't travel."""


class RaisesWhenMade(Exception):
    """Can't be made again, but past its constructors."""

    def __new__(cls, *args: Any) -> RaisesWhenMade:
        if args != ("the first time",):
            raise RuntimeError("no second one")
        return super().__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        super().__init__("changed")


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
    RaisesWhenMade("the first time"),
    Frozen(5, "text"),
    Frozen(code=5),
    FrozenSlots(5),
    Mutable([1]),
    Slotted(1, 2),
    Private(3),
    Sets(7),
    Elsewise(8),
    Arrays(np.arange(3)),
    Holder(Frozen(1), [Custom(2, hint="x")]),
    NewTakesMore(1, 2),
    Kept(5),
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
    for name in copyreg._slotnames(type(error)):  # type: ignore[attr-defined]
        assert repr(getattr(rebuilt, name, None)) == repr(getattr(error, name, None))


def test_rebuild_gives_the_systems_errors_their_fields() -> None:
    """`errno` and `filename` are no part of `args` alone."""
    for error in (FileNotFoundError(errno.ENOENT, "gone", "/no/such"), Missing("/no/such")):
        rebuilt = _there(error)
        assert isinstance(rebuilt, OSError)
        assert (rebuilt.errno, rebuilt.filename) == (errno.ENOENT, "/no/such")


class Grouped(ExceptionGroup[Exception]):
    """A group with a constructor, an attribute and a way to be split of its own."""

    def __new__(cls, members: list[Exception], code: int) -> Grouped:
        made = super().__new__(cls, f"code {code}", members)
        made.code = code
        return made

    def __init__(self, members: list[Exception], code: int) -> None:
        super().__init__(f"code {code}", members)

    code: int

    def derive(self, members: Any) -> Grouped:
        return Grouped(members, self.code)


def test_groups_keep_their_shape_and_each_member_its_type() -> None:
    """Also one whose member has a constructor of its own, or a lock in it, or is met twice."""
    twice = ValueError("twice")
    inner = Grouped([Frozen(1), Unpicklable(threading.Lock()), twice], 7)
    inner.add_note("of the inner one")
    group = ExceptionGroup("outer", [Custom(3), inner, TwoNeeded(1, 2), twice])
    there = _there(group)
    assert isinstance(there, ExceptionGroup)
    assert there.message == "outer"
    custom, within, needed, last = there.exceptions
    assert (type(custom), str(custom)) == (Custom, "failed with code 3")
    assert (type(needed), str(needed)) == (TwoNeeded, "1 and 2")
    assert repr(last) == "ValueError('twice')"
    assert isinstance(within, Grouped)
    assert (within.code, within.__notes__) == (7, ["of the inner one"])
    assert [type(each) for each in within.exceptions] == [Frozen, Unpicklable, ValueError]
    assert "argument 1 (_thread.lock)" in within.exceptions[1].__notes__[0]
    caught: list[str] = []
    try:
        raise there
    except* Frozen as frozen:
        caught.append(repr(frozen.exceptions[0].exceptions))  # type: ignore[union-attr]
    except* Unpicklable:
        caught.append("with a lock")
    except* Exception:
        caught.append("others")
    assert caught == ["(Frozen(code=1, hint='none'),)", "with a lock", "others"]


def test_group_that_holds_what_ends_programs_arrives_as_one_of_exceptions() -> None:
    """As a single exception of that kind: in words, so that it ends nobody here."""
    group = BaseExceptionGroup("several", [SystemExit(3), ValueError("why")])
    there = _there(group)
    assert type(there) is ExceptionGroup
    assert [type(each) for each in there.exceptions] == [RemoteError, ValueError]
    assert isinstance(there.exceptions[0], RemoteError)
    assert there.exceptions[0].type_name == "SystemExit"


def test_group_of_a_class_that_is_not_here_keeps_its_members(elsewhere: ModuleType) -> None:
    """What matches them does so all the same."""
    kind = type("Mine", (ExceptionGroup,), {"__module__": "only_over_there"})
    there = _there(kind("several", [KeyError("a")]))
    assert type(there) is ExceptionGroup
    assert there.message == "several"
    assert repr(there.exceptions) == "(KeyError('a'),)"
    assert "only_over_there.Mine" in there.__notes__[0]


def test_deep_groups_and_long_chains_end() -> None:
    """What is beyond the bounds is told in words."""
    group: Exception = ValueError("innermost")
    for _ in range(300):
        group = ExceptionGroup("outer", [group])
    there: Any = _there(group)
    for _ in range(100):
        (there,) = there.exceptions
    assert isinstance(there, RemoteError)
    first = ValueError(0)
    error: BaseException = first
    for number in range(1, 500):
        error.__cause__ = ValueError(number)
        error = error.__cause__
    error.__cause__ = first  # and in a circle
    assert repr(_there(first)) == "ValueError(0)"


def test_causes_and_contexts_arrive_as_objects() -> None:
    """And with them what was said of them; the remote traceback ends the chain."""
    try:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise Frozen(2)  # noqa: B904
        except Frozen as second:
            raise Custom(3) from second
    except Custom as error:
        there = _there(error)
    cause = there.__cause__
    assert isinstance(cause, Frozen)
    assert cause is there.__context__
    assert isinstance(cause.__context__, KeyError)
    assert isinstance(cause.__cause__, RemoteTraceback)


def test_context_arrives_where_it_is_not_shown() -> None:
    """``from None``, and one that may not be raised here."""
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None
    except ValueError as error:
        there = _there(error)
    assert isinstance(there.__context__, KeyError)
    assert isinstance(there.__cause__, RemoteTraceback)
    error = ValueError("second")
    error.__context__ = SystemExit(3)
    assert isinstance(_there(error).__context__, RemoteError)


def test_class_of_a_function_comes_back_as_itself() -> None:
    """It has no name to be found by: to any other process it is a `RemoteError`."""

    class Local(Exception):
        def __init__(self, code: int, *, hint: str) -> None:
            super().__init__(code)
            self.hint = hint

    assert isinstance(_there(Local(3, hint="x")), RemoteError)
    encode(Local, "args")  # as when it went to where it was raised
    there = _there(Local(3, hint="x"))
    assert type(there) is Local
    assert there.hint == "x"


def test_rebuild_keeps_attributes_and_notes_when_the_exception_has_some() -> None:
    """What was added to the exception after it was made travels too."""
    error = CallTimeout("too late", progress="started")
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
    assert isinstance(rebuilt.__cause__, KeyError)
    assert isinstance(rebuilt.__cause__.__cause__, RemoteTraceback)
    printed = "".join(traceback.format_exception(rebuilt))
    order = ["KeyError: 'first'", "direct cause", "ValueError: second", "direct cause"]
    at = [printed.index(order[0])]
    for text in order[1:]:
        at.append(printed.index(text, at[-1] + 1))
    assert printed.rstrip().endswith("ValueError: second")
    assert "test_failures.py" in described.traceback


WORDS = [
    (SystemExit(3), "SystemExit"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
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


class Exhausted(StopIteration):
    """One of a library's."""


class NotGiven(concurrent.futures.CancelledError):
    """One of a library's."""


@pytest.mark.parametrize(
    "error",
    [
        *(StopIteration(5), Exhausted(5), StopAsyncIteration("why")),
        *(concurrent.futures.CancelledError(), NotGiven("why"), asyncio.CancelledError("why")),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_rebuild_tells_in_words_what_would_mean_something_else_here(error: BaseException) -> None:
    """The end of a loop, or that the caller was cancelled; as a member or cause it does no harm."""
    rebuilt = _there(error)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name.endswith(type(error).__name__)
    assert (rebuilt.message, rebuilt.remote) == (str(error), True)
    assert type(error).__name__ in rebuilt.traceback
    if isinstance(error, Exception):
        group = _there(ExceptionGroup("several", [error]))
        assert isinstance(group, ExceptionGroup)
        assert type(group.exceptions[0]) is type(error)
        caused = ValueError("caused")
        caused.__cause__ = error
        assert type(_there(caused).__cause__) is type(error)


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
    ServerGone("its own server has gone", progress="not started"),
    ServerGone("its own server has gone", progress="unknown"),
    CallTimeout("its own call took too long", progress="started"),
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


def _batches(names: range, batch: Any) -> list[Exception]:
    errors: list[Exception] = []
    for name in names:
        error = Plain(name)
        error.batch = batch or bytes(3_000_000)  # type: ignore[attr-defined]
        errors.append(error)
    return errors


def _size(error: BaseException) -> int:
    payload = describe(error).payload
    assert payload is not None
    head, buffers, _ = payload
    parts = head if isinstance(head, tuple) else (head,)
    return sum(map(len, parts)) + sum(map(len, buffers))


def _chain(errors: list[Exception], name: str) -> Exception:
    for error, cause in itertools.pairwise(errors):
        setattr(error, name, cause)
    return errors[0]


@pytest.mark.parametrize("batch", [bytes(3_000_000), list(range(500_000))], ids=["bytes", "list"])
@pytest.mark.parametrize("name", ["__cause__", "__context__", "members"])
def test_what_exceptions_share_travels_twice_at_most(name: str, batch: Any) -> None:
    """A batch that all of them name: each arrives as itself, and they share it here, too."""
    errors = _batches(range(20), batch)
    one = _size(errors[0])
    error = ExceptionGroup("all", errors) if name == "members" else _chain(errors, name)
    assert _size(error) < 2 * one + 100_000
    there: Any = _there(error)
    found = [*there.exceptions] if name == "members" else [there]
    while name != "members" and isinstance(getattr(found[-1], name), Plain):
        found.append(getattr(found[-1], name))
    assert [each.args for each in found] == [(number,) for number in range(20)]
    assert found[-1].batch == batch
    assert found[-1].batch is found[-2].batch


def test_causes_that_are_too_large_together_arrive_in_words() -> None:
    """The exception itself arrives, and what is small, and what those say."""
    errors = [*_batches(range(15), None), Plain("small")]
    error = _chain(errors, "__cause__")
    assert _size(error) < 5_000_000
    there: Any = _there(error)
    assert type(there) is Plain
    found = [there]
    while not isinstance(found[-1], RemoteTraceback):
        found.append(found[-1].__cause__)
    assert {type(each) for each in found[1:-2]} == {RemoteError}
    assert "Plain: 5" in str(found[5])
    assert repr(found[-2]) == "Plain('small')"


def test_texts_of_causes_are_bounded() -> None:
    """That of the exception isn't, but in its traceback."""
    text = "x" * 2_000_000
    there = _there(_chain([Plain(text) for _ in range(50)], "__cause__"))
    assert str(there) == text
    described = describe(_chain([Plain(text) for _ in range(50)], "__cause__"))
    assert len(described.traceback) < 1_100_000
    assert "are left out" in described.traceback
    assert "(2000" in described.traceback  # how long a message was
    errors: list[Exception] = [Unpicklable(text, threading.Lock()) for _ in range(50)]
    assert _size(_chain([Plain(1), *errors], "__cause__")) < 2_000_000


def test_group_of_groups_is_described_in_bounded_time() -> None:
    """It is twice in each of 60: `traceback` alone would not come back."""
    group: ExceptionGroup[Any] = ExceptionGroup("leaf", [ValueError(1)])
    for _ in range(60):
        group = ExceptionGroup("x", [group, group])
    described = describe(_raised(group))
    assert "test_failures.py" in described.traceback
    assert "ExceptionGroup: x" in described.traceback
    there: Any = _rebuild(described)
    for _ in range(60):
        assert there.exceptions[0] is there.exceptions[1]
        there = there.exceptions[0]
    assert repr(there.exceptions) == "(ValueError(1),)"


def test_alone_leaves_out_what_belongs_to_the_exception() -> None:
    """For a message that would be too large."""
    error = _chain([Plain(1), Plain(2)], "__cause__")
    payload = alone(error)
    assert payload is not None
    there = rebuild("Plain", "1", "", *payload)
    assert repr(there) == "Plain(1)"
    assert there.__cause__ is None
    assert alone(KeyboardInterrupt()) is None
