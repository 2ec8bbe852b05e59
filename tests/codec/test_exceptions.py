"""One exception as a pickle and back; `test_failures` has what belongs together."""

from __future__ import annotations

import copyreg
import errno
import io
import sys
import threading
import urllib.error
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest

from bgpy.codec.exceptions import (
    NoRoom,
    Room,
    made_of,
    pack,
    pack_all,
    set_past,
    unpack,
    unpack_all,
)
from bgpy.codec.patience import Patience


def _there(error: BaseException, members: list[Exception] | None = None) -> Any:
    packed = pack(error)
    return None if packed is None else unpack(packed, members)


def test_unpack_gives_none_when_the_pickle_is_none_of_an_exception() -> None:
    """The caller then tells it in words."""
    assert unpack((b"garbage", False), None) is None
    assert unpack((b"", True), None) is None
    packed = pack(ValueError(1))
    assert packed is not None
    assert unpack(packed, []) is None  # no group
    assert made_of("text", None) is None
    assert unpack_all(packed) == []


# What exceptions of Python's own hold in fields of C


def _caught(run: Callable[[], Any]) -> BaseException:
    try:
        run()
    except BaseException as error:
        return error
    raise AssertionError


class MyImport(ImportError):
    """With a constructor that takes something else, and hides a field of its base."""

    def __init__(self, wanted: str) -> None:
        super().__init__("no " + wanted, name=wanted, path="/x")

    @property
    def path(self) -> str:  # type: ignore[override]
        return "hidden"


class MyKey(KeyError):
    """With a slot named as the field of another."""

    __slots__ = ("name",)


def _key() -> KeyError:
    error: Any = MyKey("k")
    error.name = "x"
    assert isinstance(error, KeyError)
    return error


def _written() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "wait", 5)


def _set() -> OSError:
    error = FileNotFoundError(errno.ENOENT, "gone")
    error.filename, error.filename2 = "/from", b"/to"
    return error


def _windows() -> OSError:
    """As `os.replace` raises it there; elsewhere it is a plain one."""
    return OSError(errno.ENOENT, "gone", "/from", 3, "/to")


def _stopped() -> StopIteration:
    error = StopIteration(1)
    error.value = 2
    return error


def _moved() -> UnicodeDecodeError:
    error = UnicodeDecodeError("utf-8", b"abc", 0, 1, "bad")
    error.start, error.end, error.reason = 1, 3, "other"
    return error


FIELDS = [
    (ImportError("no", name="x", path="/y"), ["name", "path"]),
    (_caught(lambda: __import__("no_such_module_there")), ["name", "path"]),
    (_caught(lambda: exec("from os import no_such_name")), ["name", "path", "name_from"]),
    (MyImport("y"), ["name", "path"]),
    (_caught(lambda: eval("no_such_name")), ["name"]),
    (_caught(lambda: (3).no_such), ["name"]),  # type: ignore[attr-defined]
    (_stopped(), ["value"]),
    (_caught(lambda: compile("a b", "f.py", "exec")), ["msg", "filename", "lineno", "text"]),
    (_caught(lambda: compile("a b", "f.py", "exec")), ["offset", "end_lineno", "end_offset"]),
    (_moved(), ["encoding", "object", "start", "end", "reason"]),
    (OSError(errno.EXDEV, "no", "a", None, "b"), ["errno", "strerror", "filename", "filename2"]),
    (OSError(errno.EXDEV, "no", None, None, "b"), ["args", "filename", "filename2"]),
    (_set(), ["errno", "strerror", "filename", "filename2"]),
    (_windows(), ["errno", "strerror", "filename", "filename2", "winerror"]),
    (_written(), ["characters_written"]),
    (urllib.error.HTTPError("http://x", 404, "nf", {}, None), ["filename", "code", "url"]),  # type: ignore[arg-type]
    (_key(), ["name"]),
]


# From 3.14 on one without a body has one, which nobody closes here.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up <HTTPError:ResourceWarning")
@pytest.mark.parametrize(("error", "names"), FIELDS, ids=lambda each: type(each).__name__)
def test_fields_of_pythons_own_exceptions_arrive(error: Exception, names: list[str]) -> None:
    """They are neither among `args` nor in `__dict__`."""
    there = _there(error)
    assert type(there) is type(error)
    assert str(there) == str(error)
    for name in names:
        assert getattr(there, name, "none") == getattr(error, name, "none")


def test_second_file_that_cannot_be_pickled_is_still_told() -> None:
    """Its text stands for it, as for any argument."""
    error = FileNotFoundError(errno.ENOENT, "gone")
    error.filename, error.filename2 = "/from", threading.Lock()
    assert repr(error.filename2) in str(_there(error))


def test_pickle_of_a_plain_exception_is_small() -> None:
    """It holds what it needs, once."""
    packed = pack(ValueError("why"))
    assert packed is not None
    assert len(packed[0]) < 120


def test_field_that_was_cleared_arrives_so() -> None:
    """Though the constructor fills it."""
    error = StopIteration(5)
    error.value = None
    there = _there(error)
    assert (there.args, there.value) == ((5,), None)


def test_object_without_the_attribute_stays_behind() -> None:
    """It may be anything, and need not allow being pickled."""
    error = _caught(lambda: threading.Lock().no_such)  # type: ignore[attr-defined]
    there = _there(error)
    assert isinstance(there, AttributeError)
    assert (there.name, there.obj) == ("no_such", None)


def test_field_that_is_unknown_here_becomes_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that other versions of Python, or of the class, have."""
    packed = pack(_key())
    assert packed is not None

    class Slotless(KeyError):
        pass

    monkeypatch.setattr(sys.modules[__name__], "MyKey", Slotless)
    there: Any = unpack(packed, None)
    assert isinstance(there, Slotless)
    assert getattr(there, "name", None) == "x"


# A class's own way


class Unholy(Exception):
    """Says that it is made with a lock."""

    def __reduce__(self) -> Any:
        return Unholy, (threading.Lock(),)


class Another(Exception):
    """Gives another exception in its place."""

    def __reduce__(self) -> Any:
        return ValueError, ("another",)


class NoError(Exception):
    """Gives what is no exception."""

    def __reduce__(self) -> Any:
        return str, ("text",)


class Refusing(Exception):
    """Can't be made as it says."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code + 0}")

    def __reduce__(self) -> Any:
        return Refusing, self.args


class Stateful(Exception):
    """Gives a state; only that may be set."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.left: Any = threading.Lock

    def __reduce__(self) -> Any:
        return Stateful, self.args, {"set": 1}


class Dropping(Exception):
    """Leaves its attributes and slots out."""

    __slots__ = ("slot",)

    def __reduce__(self) -> Any:
        return Dropping, self.args


class TwoStates(Exception):
    """As pickle's own protocol has it: attributes and slots."""

    def __reduce__(self) -> Any:
        return TwoStates, self.args, ({"set": 2}, None)


class OwnState(Exception):
    """Sets its state itself."""

    def __reduce__(self) -> Any:
        return OwnState, self.args, 5

    def __setstate__(self, state: Any) -> None:
        self.set = state


class BadState(OwnState):
    """Can't."""

    def __reduce__(self) -> Any:
        return BadState, self.args, 5

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError(state)


class Long(Exception):
    """Gives more than an exception can use."""

    def __reduce__(self) -> Any:
        return Long, (), None, iter([1])


class Named(Exception):
    """Is to be found by a name."""

    def __reduce__(self) -> Any:
        return "no_such_name"


def _with(error: Exception, **attributes: Any) -> Exception:
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


OWN = [
    (Unholy("why"), Unholy, ("why",), {}),
    (Another("why"), ValueError, ("another",), {}),
    (_with(NoError("why"), other=1), NoError, ("why",), {"other": 1}),
    (_with(Refusing(1), other=1), Refusing, ("code 1",), {"other": 1}),
    (_with(Stateful("why"), other=1), Stateful, ("why",), {"left": threading.Lock, "set": 1}),
    (_with(Dropping("why"), other=1, slot=2), Dropping, ("why",), {}),
    (TwoStates("why"), TwoStates, ("why",), {"set": 2}),
    (OwnState("why"), OwnState, ("why",), {"set": 5}),
    (_with(BadState("why"), other=1), BadState, ("why",), {"other": 1}),
    (_with(Long("why"), other=1), Long, ("why",), {"other": 1}),
    (_with(Named("why"), other=1), Named, ("why",), {"other": 1}),
]


@pytest.mark.parametrize(("error", "kind", "args", "attributes"), OWN, ids=lambda each: repr(each))
def test_own_way_is_followed_if_it_works(
    error: Exception, kind: type, args: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    """And then nothing is set that it didn't set; else the exception arrives all the same."""
    there: Any = _there(error)
    assert (there.args, vars(there)) == (args, attributes)
    assert type(there) is kind
    for name in copyreg._slotnames(kind):  # type: ignore[attr-defined]
        assert not hasattr(there, name)


def test_notes_arrive_though_the_class_does_not_tell_of_them() -> None:
    """They are added from outside."""
    error = Dropping("why")
    error.add_note("tried twice")
    assert _there(error).__notes__ == ["tried twice"]


def test_exception_within_goes_its_way_too() -> None:
    """With what it has, if its own way fails."""
    there = _there(ValueError([Another("why"), MyImport("y")]))
    assert [type(each) for each in there.args[0]] == [ValueError, MyImport]
    assert there.args[0][1].name == "y"
    there = _there(ValueError(_with(Unholy("why"), other=1)))
    assert (type(there.args[0]), vars(there.args[0])) == (Unholy, {"other": 1})


# What leads back to it


class Node:
    """Holds the error of a request."""

    error: Any = None


class Holder(Exception):
    """With a constructor, a slot, and a way of its own."""

    __slots__ = ("held",)

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}", code)

    def __reduce__(self) -> Any:
        return Holder, (self.args[1],), {"node": self.node}

    node: Any


def _leading_back(way: str) -> Exception:
    node = Node()
    error: Any = Holder(3) if way == "own way" else KeyError("failed", node)
    if way == "attribute":
        error.first = error
    elif way == "another":
        error.first = ValueError("other")
        error.first.first = error
    elif way == "slot":
        error = MyKey("failed")
        error.name = error
    elif way == "field":
        error = StopIteration(5)
        error.value = [error]
    elif way == "own way":
        error.node = node
    if way in ("arguments", "own way"):
        node.error = error
    return error  # type: ignore[no-any-return]


BACK: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda error: error.first,
    "another": lambda error: error.first.first,
    "slot": lambda error: error.name,
    "field": lambda error: error.value[0],
    "arguments": lambda error: error.args[1].error,
    "own way": lambda error: error.node.error,
}


@pytest.mark.parametrize("way", BACK)
def test_exception_that_leads_back_to_itself_arrives_so(way: str) -> None:
    """As itself, not as a copy."""
    error = _leading_back(way)
    there = _there(error)
    assert type(there) is type(error)
    assert BACK[way](there) is there
    assert str(there.args[0]) == str(error.args[0])


def test_group_that_its_own_attributes_lead_back_to_arrives() -> None:
    """They have one like it."""
    member: Any = ValueError(1)
    group: Any = ExceptionGroup("several", [member])
    group.first = member.group = group
    there = _there(group, [KeyError(2)])
    assert repr(there.exceptions) == "(KeyError(2),)"
    assert there.first.exceptions[0].group is there.first


# What can't be pickled of it


class Locked(Exception):
    """Makes a lock, and has a slot for another."""

    __slots__ = ("guard",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lock = threading.Lock()
        self.guard = threading.Lock()
        self.count = 3


class Refused(Exception):
    """Is told what a response says, which is open."""

    def __init__(self, response: Any, code: int) -> None:
        self.response = response
        self.code = code

    def __str__(self) -> str:
        return f"{self.response.readable()}: {self.code}"


class Frozen(Refused):
    """Lets nobody set anything later."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self):
            raise AttributeError(name)
        super().__setattr__(name, value)


class LeavesOut(Exception):
    """Says itself what is pickled of it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        return LeavesOut, self.args


def _http_error() -> Exception:
    response: Any = (each for each in ())  # stands for an open connection
    return urllib.error.HTTPError("http://x", 404, "Not Found", Message(), response)


PARTLY: dict[str, tuple[Exception, dict[str, Any], list[str]]] = {
    "lock": (
        Locked("why"),
        {"count": 3},
        ["attribute 'lock' (_thread.lock)", "attribute 'guard' (_thread.lock)"],
    ),
    "argument": (ValueError("why", 5, (each for each in ())), {}, ["argument 3 (generator)"]),
    "filename": (OSError(2, "no", threading.Lock()), {"errno": 2}, ["argument 3 (_thread.lock)"]),
    "text": (Refused(sys.stdout, 5), {"code": 5}, ["argument 1 (", "attribute 'response' ("]),
    "http": (_http_error(), {"code": 404, "url": "http://x"}, ["attribute 'fp' (generator)"]),
    "noted": (_with(ValueError("why"), __notes__=["mine"], x=threading.Lock()), {}, ["'x'"]),
    "odd notes": (_with(ValueError("why"), __notes__=threading.Lock()), {}, ["'__notes__'"]),
    "by value": (_with(ValueError("why"), f=lambda: 5, x=threading.Lock()), {}, ["'x'"]),
}


@pytest.mark.parametrize("case", PARTLY)
def test_what_cannot_be_pickled_stays_behind_and_is_named(case: str) -> None:
    """Type, text, arguments and all other members arrive."""
    error, members, left = PARTLY[case]
    there = _there(error)
    assert isinstance(there, type(error))
    assert str(there) == str(error)
    assert len(there.args) == len(error.args)
    for name, value in members.items():
        assert getattr(there, name) == value
    *notes, told = there.__notes__
    assert notes == (["mine"] if case == "noted" else [])
    assert told.startswith("left behind where it was raised, since it can't be pickled: ")
    for name in left:
        assert name in told


def test_what_is_left_of_an_exception_is_caught_as_its_class() -> None:
    """Also where only its text is kept, since its class makes that from what stayed behind."""
    for kind in (Refused, Frozen):
        stream = io.BufferedReader(io.BytesIO())  # type: ignore[type-var]
        there = _there(kind(stream, 5))
        assert (type(there).__qualname__, type(there).__module__) == (kind.__qualname__, __name__)
        with pytest.raises(kind, match="True: 5"):
            raise there
        assert "BufferedReader" in repr(there.args[0])


def test_what_an_exception_leaves_out_itself_is_not_missed() -> None:
    """Nothing tells of it; its notes are those it had."""
    there = _there(LeavesOut("why"))
    assert type(there) is LeavesOut
    assert not hasattr(there, "__notes__")
    error = LeavesOut("why")
    error.add_note("mine")
    assert _there(error).__notes__ == ["mine"]


def test_exceptions_within_leave_behind_what_is_theirs() -> None:
    """Each for itself, also where they lead back to each other; a group keeps the rest."""
    outer: Any = ValueError("outer", [Locked("in")])
    outer.inner = Locked("other")
    outer.inner.outer = outer  # type: ignore[attr-defined]
    outer.rows = [threading.Lock()]
    there = _there(outer)
    assert "'rows' (list)" in there.__notes__[0]
    assert there.inner.outer is there
    assert there.inner.count == there.args[1][0].count == 3
    assert "'lock'" in there.inner.__notes__[0]
    group = _with(ExceptionGroup("several", [ValueError(1)]), lock=threading.Lock(), count=3)
    there = _there(group, [KeyError(2)])
    assert (there.count, repr(there.exceptions)) == (3, "(KeyError(2),)")
    assert "'lock'" in there.__notes__[0]


class Counted(Exception):
    """Counts how often its text is made."""

    said = 0

    def __init__(self, number: int, inner: Any) -> None:
        super().__init__(number, inner)
        self.lock = threading.Lock()
        self.inner = [inner]

    def __str__(self) -> str:
        Counted.said += 1
        return f"number {self.args[0]} {self.lock.locked()}"


def test_exceptions_within_exceptions_are_looked_through_once_each() -> None:
    """Not each one again for those that hold it."""
    Counted.said = 0
    error = None
    for number in range(40):
        error = Counted(number, error)
    assert error is not None
    there = _there(error)
    for number in reversed(range(40)):
        assert isinstance(there, Counted)
        assert str(there) == f"number {number} False"
        there = there.args[1]
    assert Counted.said < 40 * 4


def test_what_is_not_found_out_in_time_is_left_behind() -> None:
    """Type, text and what is plain arrive all the same."""
    error = Counted(5, ["may be large"])
    packed = pack(error, None, Patience(-1))
    assert packed is not None
    there: Any = unpack(packed, None)
    assert isinstance(there, Counted)
    assert (str(there), there.args[0], str(there.args[1])) == (
        *("number 5 False", 5),
        "['may be large']",
    )
    assert "argument 2 (list)" in there.__notes__[0]
    packed = pack_all([error, ValueError([1])], Room(10**6), Patience(-1))
    assert packed is not None
    assert [str(each) for each in unpack_all(packed)] == ["number 5 False", "[1]"]


# Groups


def test_group_of_any_class_is_made_of_the_members_that_come() -> None:
    """Those that end programs come as words, so that what holds them ends nobody either."""
    group = BaseExceptionGroup("several", [SystemExit(3), ValueError(1)])
    there = _there(group, [RuntimeError("in words"), ValueError(1)])
    assert type(there) is ExceptionGroup
    assert there.message == "several"
    assert repr(there.exceptions) == "(RuntimeError('in words'), ValueError(1))"
    within = _there(_with(ValueError(), group=group)).group
    assert type(within) is BaseExceptionGroup
    assert [type(each) for each in within.exceptions] == [SystemExit, ValueError]


class Ending(BaseExceptionGroup[BaseException]):
    """A group of what ends programs."""


def test_group_of_a_class_that_ends_programs_is_one_of_exceptions() -> None:
    """As its members come in words."""
    there = _there(Ending("several", [SystemExit(3)]), [RuntimeError("in words")])
    assert type(there) is ExceptionGroup
    assert repr(there.exceptions) == "(RuntimeError('in words'),)"


# Several in one pickle, and how large they may be


def test_exception_with_what_only_cloudpickle_can_pickle_holds_no_code() -> None:
    """So any Python rebuilds it; with a function in it, only the same."""
    error = _with(ValueError("odd"), keys={"a": 1}.keys())
    packed = pack(error)
    assert packed is not None
    assert packed[1] is False
    made: Any = unpack(packed, None)
    assert (repr(made), made.keys) == (repr(error), {"a"})
    with_code = pack(_with(ValueError("odd"), run=lambda: 1))
    assert with_code is not None
    assert with_code[1] is True


def test_pack_all_holds_once_what_several_share() -> None:
    """And keeps it one."""
    batch = list(range(10_000))
    errors = [_with(ValueError(number), batch=batch) for number in range(20)]
    group = ExceptionGroup("several", errors[:1])
    one = pack(errors[0])
    packed = pack_all([*errors, group], Room(10**6))
    assert one is not None
    assert packed is not None
    assert len(packed[0]) < len(one[0]) + 10_000
    *made, last = unpack_all(packed)
    assert [each.args for each in made] == [each.args for each in errors]
    assert made[0].batch is made[-1].batch
    there = made_of(last, [KeyError(1)])
    assert repr(there) == "ExceptionGroup('several', [KeyError(1)])"


def test_pack_takes_no_more_room_than_there_is() -> None:
    """Also for what comes to nothing; a few large ones leave some for small ones."""
    room = Room(1_000_000)
    with pytest.raises(NoRoom):
        pack(ValueError(bytes(2_000_000)), room)
    assert 500_000 < room.left < 1_000_000
    assert pack(ValueError(1), room) is not None
    left = room.left
    assert pack(ValueError(bytes(10_000), threading.Lock()), room) is not None
    assert 0 < room.left < left - 20_000
    room = Room(100)
    with pytest.raises(NoRoom):
        pack_all([ValueError(1), ValueError("x" * 1000)], room)


def test_set_past_sets_what_the_class_forbids() -> None:
    """A cause, a context, and whether that is shown."""

    class Stubborn(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error, cause = Stubborn(), ValueError()
    set_past(error, "__cause__", cause)
    set_past(error, "__suppress_context__", False)
    assert (error.__cause__, error.__suppress_context__) == (cause, False)
