"""A claim that is let go in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpy.state import claims
from tests.support.claimed import ADDRESS, own_record


@pytest.fixture
def claim() -> Iterator[claims.Claim]:
    """Give a claim of this process, whose record is written."""
    claim = claims.claim(ADDRESS)
    claim.write(own_record(), "secret")
    yield claim
    claim.release()
