"""The targets of `fuzz`, for a moment and with fixed seeds; and what fuzzing has found."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.corpus import CORPORA
from fuzz.inputs import inputs
from fuzz.mutation import mutations
from fuzz.targets import TARGETS, Unexpected

CHANGED = {"record": 200, "questions": 500}
"""Inputs of the slow targets; the others get more."""


@pytest.mark.parametrize("name", TARGETS)
def test_target_raises_only_documented_errors_when_honest_inputs_are_changed(name: str) -> None:
    """Thousands of inputs near those that an honest side sends."""
    target, seeds = TARGETS[name], CORPORA[name]
    for data in [*seeds, *islice(mutations(seeds, 20260101), CHANGED.get(name, 2000))]:
        try:
            target(data)
        except BaseException as error:
            raise AssertionError(f"{name}({data!r})") from error


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_targets_raise_only_documented_errors_when_inputs_are_any(data: st.DataObject) -> None:
    """Bytes of any sort, and frames whose headers lie."""
    name = data.draw(st.sampled_from(sorted(TARGETS)))
    TARGETS[name](data.draw(inputs(name)))


def test_mutations_are_the_same_when_the_seed_is() -> None:
    """A find can be found again."""
    seeds = CORPORA["session"]
    one, other = (list(islice(mutations(seeds, 7), 100)) for _ in range(2))
    assert one == other
    assert one != list(islice(mutations(seeds, 8), 100))


def test_targets_notice_when_something_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch of the other tests works: a server that loads what it hears is found out."""
    from bgpy.serving.requests import Requests

    def load(requests: object) -> None:
        import pickle

        pickle.loads(b"N.")

    monkeypatch.setattr(Requests, "_described", load)
    with pytest.raises(Unexpected) as raised:
        TARGETS["questions"](b"\0{}")
    assert "unpickled" in f"{raised.value} {raised.value.__cause__}"
