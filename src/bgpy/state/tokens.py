"""The token: the secret with which client and server authenticate to each other.

Anyone who holds it can run code as the server's user. bgpy never puts it on a command line,
in a log or in the environment of a server's children. A server that generated its token
keeps it in its folder while it runs, and ``bgpy add`` keeps those of servers elsewhere;
only this account can read these files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum

from bgpy import address
from bgpy.config import ADVISED_TOKEN, ENV_TOKEN, checked_text
from bgpy.state import records
from bgpy.state.folders import below_machine, exists_privately, make_private, older, safe
from bgpy.system import files


class Source(Enum):
    """Where a token came from; the value is the wording for people."""

    ARGUMENT = "the one that was given"
    ENVIRONMENT = "the one in BGPY_TOKEN"
    RECORD = "the one that the server at this address keeps for this account"
    KEPT = "the one that 'bgpy add' has kept for this address"
    MADE = "one that was made for this server"


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A token and where it came from; its ``repr`` shows only the source."""

    token: str = field(repr=False)
    source: Source
    record: records.Record | None = field(default=None, repr=False, compare=False)
    """The record of the server that keeps the token, where it was found so."""


def find(given: str | None, place: address.Address) -> FoundToken | None:
    """The token that a client uses for the server at `place`; None if none is known.

    In this order: `given`, ``BGPY_TOKEN``, the token of a server of this account that runs
    there, the token that ``bgpy add`` kept for the address. Raises `StartupError` if this
    account has no home folder, or if other users could have written the token.
    """
    return _found(given) or known(place)


def known(place: address.Address) -> FoundToken | None:
    """The token that this account knows for an address; errors as in `find`.

    A server that listens on all interfaces accepts connections over loopback too.
    """
    for candidate in (place, *address.wildcards(place)):
        found = records.found_with_token(candidate)
        if found is not None:
            return FoundToken(found[1], Source.RECORD, found[0])
    token = kept_token(place)
    return None if token is None else FoundToken(token, Source.KEPT)


def for_server(given: str | None) -> FoundToken:
    """The token of a server that starts: `given`, else that of ``BGPY_TOKEN``, else a new one."""
    return _found(given) or FoundToken(create(), Source.MADE)


def _found(given: str | None) -> FoundToken | None:
    if given is not None:
        return FoundToken(given, Source.ARGUMENT)
    token = from_environment()
    return None if token is None else FoundToken(token, Source.ENVIRONMENT)


def create(length: int = 64) -> str:
    """Generate a random token of exactly `length` hexadecimal characters (4 bits each).

    Give it to a `Server` and to its `Client`. Raises `TypeError` if `length` is not an
    integer, `ValueError` if it is below 1.
    """
    if not isinstance(length, int) or isinstance(length, bool):
        raise TypeError(f"length must be an integer, not {type(length).__name__}")
    if length < 1:
        raise ValueError(
            f"a token can't have {length} characters; at least {ADVISED_TOKEN} are advised"
        )
    # Imported here: that takes longer than connecting a client that has a token.
    import secrets

    return secrets.token_hex((length + 1) // 2)[:length]


def check(token: str | None) -> str | None:
    """Return `token` if it is valid; None means that no token was given.

    Raises `TypeError` if it is not a string, `ValueError` if it is empty or can't be
    encoded as UTF-8.
    """
    if token is None:
        return None
    token = checked_text(token, "token")
    if not token:
        raise ValueError("token is empty: give one, or leave it out")
    try:
        token.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"token has a character that UTF-8 can't encode: {error}") from None
    return token


def from_environment() -> str | None:
    """Give the token in ``BGPY_TOKEN``; None where it is not set or empty."""
    return os.environ.get(ENV_TOKEN) or None


def set_environment(token: str) -> None:
    """Set ``BGPY_TOKEN`` for this process and for those it starts from now on."""
    os.environ[ENV_TOKEN] = token


def remove_environment() -> None:
    """Remove ``BGPY_TOKEN`` from this process's environment, if it is set."""
    os.environ.pop(ENV_TOKEN, None)


def keep_token(place: tuple[str, int], token: str) -> str:
    """Keep `token` for a (parsed) address, replacing an older one; return its file's path.

    Raises `StartupError` if no private folder can be made to keep it in.
    """
    path = _path(place)
    make_private(os.path.dirname(path))
    files.replace(path, token)
    return path


def kept_token(place: tuple[str, int]) -> str | None:
    """The token kept for a (parsed) address; None if there is none."""
    for path in (_path(place), older("tokens", _name(place))):
        if path is not None and exists_privately(os.path.dirname(path)):
            token = files.read(path)
            if token is not None:
                return token
    return None


def _path(place: tuple[str, int]) -> str:
    return below_machine("tokens", _name(place))


def _name(place: tuple[str, int]) -> str:
    host, port = place
    return safe(f"{host}-{port}")
