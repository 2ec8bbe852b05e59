"""A reactor at work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A reactor that serves in a thread of its own."""
    loop = Loop()
    loop.start()
    yield loop
    loop.end()
