"""The token: the secret that proves a client to its server, and the server to its client.

Whoever holds it can run code as the server's user. It is never on a command line, in a
log or in the environment of a server's children. It is kept, readable by this account
alone, in the folder of a server that made its own, while that lives, and for servers
elsewhere where it was added (``bgpy add``).
"""

from __future__ import annotations

import os

from bgpy.config import ENV_TOKEN, checked_text
from bgpy.state.folders import below_host, exists_privately, make_private, safe
from bgpy.system import files

ADVISED_LENGTH = 32
"""Characters below which a token is open to guessing, and refused beyond loopback."""


def create(length: int = 64) -> str:
    """Make a random token of exactly `length` hexadecimal characters (4 bits each).

    Raises `TypeError` for a length that is no integer, `ValueError` for one below 1.
    """
    if not isinstance(length, int) or isinstance(length, bool):
        raise TypeError(f"length must be an integer, not {type(length).__name__}")
    if length < 1:
        raise ValueError(
            f"a token can't have {length} characters; at least {ADVISED_LENGTH} are advised"
        )
    # Inside, since importing it takes longer than connecting a client that has a token.
    import secrets

    return secrets.token_hex((length + 1) // 2)[:length]


def check(token: str | None) -> str | None:
    """Give `token` back if it can be one; None stands for none.

    Raises `TypeError` for what is no string, `ValueError` for an empty one or one that
    can't be encoded.
    """
    if token is None:
        return None
    token = checked_text(token, "token")
    if not token:
        raise ValueError("token is empty: leave it out, or make one with token_create()")
    try:
        token.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"token has a character that UTF-8 can't hold: {error}") from None
    return token


def from_environment() -> str | None:
    """Give the token in ``BGPY_TOKEN``; None where it is not set or empty."""
    return os.environ.get(ENV_TOKEN) or None


def set_environment(token: str) -> None:
    """Put `token` into ``BGPY_TOKEN`` of this process and of those it starts from now on."""
    os.environ[ENV_TOKEN] = token


def remove_environment() -> None:
    """Remove ``BGPY_TOKEN`` from this process's environment, if it is there."""
    os.environ.pop(ENV_TOKEN, None)


def keep_token(address: tuple[str, int], token: str) -> str:
    """Keep `token` for that (parsed) address, instead of another one; the path of its file.

    Raises `StartupError` if there is no private folder to keep it in.
    """
    path = _path(address)
    make_private(os.path.dirname(path))
    files.replace(path, token)
    return path


def kept_token(address: tuple[str, int]) -> str | None:
    """The token that is kept for that (parsed) address; None without one."""
    path = _path(address)
    return files.read(path) if exists_privately(os.path.dirname(path)) else None


def _path(address: tuple[str, int]) -> str:
    host, port = address
    return below_host("tokens", safe(f"{host}-{port}"))
