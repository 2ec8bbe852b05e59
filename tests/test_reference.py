"""The page of reference tells what the docstrings tell, of every public name."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bgpy
import bgpy.testing

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """What ``.ci/reference.py`` defines."""
    return runpy.run_path(str(ROOT / ".ci" / "reference.py"))


def test_page_is_what_the_docstrings_say(script: dict[str, Any]) -> None:
    """Who changes a docstring or a signature runs ``make reference``."""
    assert script["page"]() == PAGE, "run make reference"


def test_page_has_every_public_name() -> None:
    """All that `bgpy` and `bgpy.testing` export, but for the version and a type's alias."""
    names = {*bgpy.__all__, *bgpy.testing.__all__} - {"__version__", "StartServer"}
    assert [name for name in sorted(names) if f"\n### {name}\n" not in PAGE] == []


def test_page_says_something_of_every_entry() -> None:
    """A public class, method or function without a docstring would have a signature alone."""
    entries = PAGE.split("\n### ")[1:]
    parts = [part for entry in entries for part in entry.split("\n#### ")]
    silent = [
        part.partition("\n")[0]
        for part in parts
        if not part.split("```")[-1].partition("\n## ")[0].strip("\n")
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("As ``None`` is.", "As `None` is."),
        ("See `Client.call` and `other`.", "See [`Client.call`](#clientcall) and `other`."),
        ("Like this::\n\n    a = `b`\n\nThen.", "Like this:\n\n```python\na = `b`\n```\n\nThen."),
        ("First.\n\n::\n\n    a\n      b\n", "First.\n\n```python\na\n  b\n```"),
    ],
)
def test_docstrings_become_markdown(script: dict[str, Any], docstring: str, shown: str) -> None:
    """Names of the page are linked, code stays as it is, examples are fenced."""
    markdown: Callable[[str, set[str]], str] = script["_markdown"]
    assert markdown(docstring, {"Client.call"}) == shown
