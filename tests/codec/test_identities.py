"""Values that are kept of objects by which objects they are."""

from __future__ import annotations

import gc

import pytest

from bgpy.codec.identities import Identities
from tests.support.touchy import Touchy


def test_objects_are_told_apart_without_being_asked() -> None:
    """Whatever they say of being equal."""
    known: Identities[str] = Identities()
    one, other = Touchy(), Touchy()
    assert known.first(one, "one") == "one"
    assert known.get(other) is None
    assert known.first(other, "other") == "other"
    assert known.first(one, "later") == "one"
    known.put(one, "now")
    assert (known.get(one), known.get(other)) == ("now", "other")


def test_values_are_gone_with_their_objects() -> None:
    """Also where one was put in place of another, and of an object in a circle."""
    known: Identities[str] = Identities()
    for _ in range(100):
        one, circle = Touchy(), Touchy()
        vars(circle)["itself"] = circle
        for each in (one, circle):
            known.put(each, "first")
            known.put(each, "second")
    del one, circle, each
    gc.collect()
    assert not known._entries


def test_entry_of_another_object_is_not_taken_for_ones_own() -> None:
    """One at the same place in memory, whose end was not noted."""
    known: Identities[str] = Identities()
    one, other = Touchy(), Touchy()
    known.put(one, "one")
    known._entries[id(other)] = known._entries[id(one)]
    assert known.get(other) is None
    assert known.first(other, "other") == "other"
    assert known.get(other) == "other"


def test_nothing_is_kept_for_what_nobody_can_follow() -> None:
    """A number, or an object of a class with slots."""
    known: Identities[str] = Identities()
    for keep in (known.put, known.first):
        with pytest.raises(TypeError):
            keep(5, "five")
    assert known.get(5) is None
