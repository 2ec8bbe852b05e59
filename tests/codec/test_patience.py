"""How long something is looked at, and what a pickler does when that is over."""

from __future__ import annotations

import pickle

import pytest

from bgpy.codec.patience import NoPatience, Nowhere, Patience, is_out_of_band, is_plain


def test_patience_ends_with_the_threads_own_time() -> None:
    """At once where there is none."""
    Patience(60).check()
    assert not Patience(60).is_over()
    over = Patience(-1)
    assert over.is_over()
    with pytest.raises(NoPatience):
        over.check()


def test_pickler_ends_when_patience_does() -> None:
    """Whatever it is at; and keeps no data."""
    with pytest.raises(NoPatience):
        pickle.Pickler(Nowhere(Patience(-1))).dump([[]])
    sink = Nowhere(Patience(60))
    assert sink.write(b"abc") == 3
    buffer = pickle.PickleBuffer(bytearray(10))
    pickle.Pickler(sink, protocol=5, buffer_callback=is_out_of_band).dump(buffer)


def test_is_plain_asks_no_metaclass() -> None:
    """Which may say anything."""

    class Touchy(type):
        def __eq__(cls, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    class Odd(metaclass=Touchy):
        pass

    assert [is_plain(each) for each in (1, "a", None, [], Odd())] == [
        True,
        True,
        True,
        False,
        False,
    ]
