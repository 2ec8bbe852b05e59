"""The token: the secret that proves a client to its server, and the server to its client.

Whoever holds it can run code as the server's user. It is never on a command line, in a
log or in the environment of a server's children; where it is kept in a file, only the
owner can read that file.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from bgpy.config import ENV_TOKEN

ADVISED_LENGTH = 32
"""Characters below which a token is open to guessing, and refused beyond loopback."""

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0))
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)


def create(length: int = 64) -> str:
    """Make a random token of exactly `length` hexadecimal characters (4 bits each).

    Raises `TypeError` for a length that is no integer, `ValueError` for one below 1.
    """
    if not isinstance(length, int) or isinstance(length, bool):
        raise TypeError(f"the length must be an integer, not {type(length).__name__}")
    if length < 1:
        raise ValueError(
            f"a token can't have {length} characters; at least {ADVISED_LENGTH} are advised"
        )
    # Inside, since importing it takes longer than connecting a client that has a token.
    import secrets

    return secrets.token_hex((length + 1) // 2)[:length]


def check(token: str | None) -> str | None:
    """Give `token` back if it can be one; None stands for none.

    Raises `TypeError` for what is no string, `ValueError` for an empty one.
    """
    if token is not None and not isinstance(token, str):
        raise TypeError(f"the token must be a string, not {type(token).__name__}")
    if token == "":
        raise ValueError("the token is empty: leave it out, or make one with token_create()")
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


def keep(path: str, token: str) -> None:
    """Write `token` to the file `path`, which only this user can read, and all at once.

    An earlier file, or a link, of that name is replaced. Raises `OSError` if the folder
    is missing or can't be written.
    """
    temporary = f"{path}.{os.urandom(4).hex()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(token.encode())
        os.replace(temporary, path)
    except BaseException:
        discard(temporary)
        raise


def read(path: str) -> str:
    """Read the token kept in the file `path`.

    Raises `PermissionError` for a link, another user's file, or one that others can
    read; `FileNotFoundError` where there is none; `ValueError` for one without a token.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _CLOEXEC | _NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise PermissionError(
                error.errno, "the token file is a symbolic link; put the file itself there", path
            ) from error
        raise
    with open(descriptor, "rb") as file:
        _check_private(path, os.fstat(descriptor))
        content = file.read()
    try:
        token = content.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"the token file {path} is not text") from error
    if not token:
        raise ValueError(f"the token file {path} is empty")
    return token


def discard(path: str) -> None:
    """Remove the token file `path`, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _check_private(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError(errno.EACCES, "the token file is not a plain file", path)
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise PermissionError(
            errno.EACCES, f"the token file belongs to another user (uid {status.st_uid})", path
        )
    if status.st_mode & 0o077:
        raise PermissionError(
            errno.EACCES,
            f"others can read or write the token file; `chmod 600 {path}` mends that, "
            "but make a new token if anyone may have seen it",
            path,
        )
