"""The token that a client was given."""

from __future__ import annotations

from bgpy import Client
from bgpy.api.passing import Given


def own_token(client: Client) -> str:
    """That of a client that was made with one."""
    given = client._given
    assert isinstance(given, Given)
    return given.token
