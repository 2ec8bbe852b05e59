"""Truths of the check before a release: a tag that doesn't fit, or links that lead elsewhere."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy.version import __version__

REPOSITORY = "https://github.com/bgpy/bgpy"


@pytest.fixture
def faults() -> Callable[[str, str], list[str]]:
    """The function of ``.ci/release.py``."""
    found = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "release.py"))["faults"]
    return found  # type: ignore[no-any-return]


def test_release_names_only_the_changelog_when_tag_and_links_fit(
    faults: Callable[[str, str], list[str]],
) -> None:
    """Whether that has a section of this version is a matter of the day."""
    assert all("CHANGELOG" in fault for fault in faults(f"v{__version__}", REPOSITORY))


def test_release_is_refused_when_the_tag_is_another_version(
    faults: Callable[[str, str], list[str]],
) -> None:
    """A tag without the ``v`` is another one too."""
    assert any("tag" in fault for fault in faults(__version__, REPOSITORY))


def test_release_is_refused_when_links_lead_elsewhere(
    faults: Callable[[str, str], list[str]],
) -> None:
    """Each of them, also to a repository whose name only begins like this one."""
    for other in (f"{REPOSITORY}-fork", REPOSITORY[:-1]):
        assert sum("link" in fault for fault in faults(f"v{__version__}", other)) == 4
