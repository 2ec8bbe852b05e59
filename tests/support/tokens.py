"""The token that a client was given, and the one that a server keeps."""

from __future__ import annotations

from bgpy import Client
from bgpy.api.passing import Given
from bgpy.state import records


def own_token(client: Client) -> str:
    """That of a client that was made with one."""
    given = client._given
    assert isinstance(given, Given)
    return given.token


def token_for(address: tuple[str, int]) -> str | None:
    """That of the server which runs at a (parsed) address, where this account keeps it."""
    found = records.found_with_token(address)
    return None if found is None else found[1]
