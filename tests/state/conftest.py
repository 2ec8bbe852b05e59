"""A claim that is let go in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.claimed import ADDRESS, own_record

from bgpy.state import claims


@pytest.fixture
def claim() -> Iterator[claims.Claim]:
    """Give a claim of this process, whose record is written."""
    claim = claims.claim(ADDRESS)
    claim.write(own_record(), "secret")
    yield claim
    claim.release()
