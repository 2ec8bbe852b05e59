"""One exception as a pickle; `test_failures` has the kinds of them and what belongs together."""

from __future__ import annotations

import threading

from bgpy.codec.exceptions import pack, set_past, unpack


def test_unpack_gives_none_when_the_pickle_is_none_of_an_exception() -> None:
    """The caller then tells it in words."""
    assert unpack((b"garbage", False), None) is None
    assert unpack((b"", True), None) is None


def test_pack_gives_none_when_something_in_it_cannot_travel() -> None:
    """Among the arguments, and in an attribute."""
    assert pack(ValueError(threading.Lock())) is None
    error = ValueError()
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    assert pack(error) is None


def test_set_past_sets_what_the_class_forbids() -> None:
    """A cause, a context, and whether that is shown."""

    class Stubborn(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error, cause = Stubborn(), ValueError()
    set_past(error, "__cause__", cause)
    set_past(error, "__suppress_context__", False)
    assert (error.__cause__, error.__suppress_context__) == (cause, False)
