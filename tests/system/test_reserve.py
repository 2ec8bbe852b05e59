"""Memory that is kept for when there is none."""

from __future__ import annotations

import pytest

from bgpy.system import reserve


def test_reserve_is_kept_until_it_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again where there is memory."""
    assert reserve.keep()
    monkeypatch.setattr(reserve, "SIZE", 2**62)
    assert reserve.keep(), "it is kept already"
    reserve.give_back()
    reserve.give_back()
    assert not reserve.keep()
    monkeypatch.undo()
    assert reserve.keep()
