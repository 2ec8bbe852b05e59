"""What is said of a call when Python has taken bgpy's modules down."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from bgpy import Unreachable
from bgpy.taken_down import look_out


def test_nothing_is_said_while_all_modules_stand() -> None:
    """Nor of modules of others."""
    look_out()()


def test_it_is_said_each_time_when_a_module_of_ours_has_been_emptied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Python does it at its end: all names mean None."""
    module = ModuleType("bgpy.emptied")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    look = look_out()
    vars(module).update(dict.fromkeys(vars(module)))
    for _ in range(2):
        with pytest.raises(
            Unreachable, match=r"taken bgpy's modules down: make .* earlier"
        ) as told:
            look()
        assert told.value.progress == "not started"
        assert told.value.__suppress_context__
