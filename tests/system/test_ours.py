"""Which code is bgpy's own."""

from __future__ import annotations

import pytest

from bgpy.system.ours import is_ours


@pytest.mark.parametrize(
    ("module", "ours"),
    [
        ("bgpy", True),
        ("bgpy.api.client", True),
        ("bgpy.testing.examples", True),
        ("bgpy.example", False),
        ("bgpy.example.tasks", False),
        ("bgpyx", False),
        ("my.bgpy.tasks", False),
        ("__main__", False),
        ("", False),
        (None, False),
    ],
)
def test_the_house_is_ours_and_its_example_is_not(module: object, ours: bool) -> None:
    """A frame's ``__name__`` may be anything that a program has put there."""
    assert is_ours(module) is ours
