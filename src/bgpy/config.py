"""Limits and options, as frozen values with their defaults.

The names are the same in the API, on the command line and in a server's record.
Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

import logging
import operator
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

HOST = "127.0.0.1"
PORT = 54321
CONNECT_TIMEOUT = 5.0
"""Seconds for connecting and proving the token, unless a client is given others."""

LOG_LEVEL = "INFO"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ADVISED_TOKEN = 32
"""Characters below which a token is open to guessing, and refused beyond loopback."""
ENV_TOKEN = "BGPY_TOKEN"
ENV_HOME = "BGPY_HOME"
ENV_ROAD = "BGPY_ROAD"
"""``general``: small calls take the road of all others (docs/design/0026), for comparison."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients can make a server hold; sizes in bytes, times in seconds."""

    max_message: int = 2**31
    """Largest message, head and buffers together, in either direction."""
    max_buffers: int = 1024
    """Out-of-band buffers in one message; a frame holds at most 65,535."""
    max_requests: int = 10_000
    """Queued requests of one client; beyond it the server reads none until half have run."""
    max_queued: int = 2**28
    """Bytes of arguments of one client's queued requests; likewise."""
    max_unsent: int = 2**28
    """Bytes of replies that one client hasn't read; beyond it none of its requests run until
    half of these bytes have been sent."""
    max_memory: int = 2**32
    """Bytes of incomplete or queued requests and unread replies, of all clients together;
    beyond it the server rejects requests with `ServerOverloaded`. One message takes at most
    half of it, the replies that wait for one client a quarter."""
    message_timeout: float = 60.0
    """Time after which a client that stopped in the middle of a message is disconnected."""
    stall_timeout: float = 60.0
    """Time after which a client beyond `max_unsent` that reads nothing is disconnected."""
    max_connections: int = 500 if sys.platform == "win32" else 10_000
    """Simultaneous connections; select on Windows watches no more than 512 sockets."""
    max_half_open: int = 100 if sys.platform == "win32" else 1_000
    """Those of them that have not proved the token; beyond it the oldest is dropped."""
    handshake_timeout: float = 5.0
    """Time from connecting to the proof of the token."""
    drain_timeout: float = 5.0
    """Time to send the remaining replies when the server ends."""
    log_size: int = 10 * 2**20
    """Size at which a background server's log is rotated."""

    def __post_init__(self) -> None:
        """Raise `TypeError` or `ValueError` naming a value that can't be a limit."""
        for each in fields(self):
            value = getattr(self, each.name)
            _check_limit(each.name, value, type(each.default))
            # A number of a kind of its own (an IntEnum, one of numpy's) doesn't travel.
            object.__setattr__(self, each.name, _plain(value))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Limits:
        """The limits that ``BGPY_MAX_MESSAGE`` and the like set; defaults for the others.

        Without `environment` they are looked for in that of this process.
        Raises `ValueError` naming a variable whose value can't be a limit.
        """
        if environment is None:  # no default: `help` would print it, token included
            environment = os.environ
        given: dict[str, Any] = {}
        for each in fields(cls):
            variable = f"BGPY_{each.name.upper()}"
            text = environment.get(variable, "").strip()
            if text:
                given[each.name] = _parse_limit(variable, text, type(each.default))
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of a server, without the token, which is passed separately.

    Each is checked and converted to builtin types, which can cross the pipe to the server's
    process. Raises `TypeError` or `ValueError` naming an invalid one.
    """

    host: str = HOST
    """Or ``unix:/path``, with port 0."""
    port: int = PORT
    tls: bool | None = None
    """None: where others than this machine can reach it."""
    certfile: str | None = None
    """PEM; None: a certificate of the server's own."""
    keyfile: str | None = None
    plain_loopback: bool = True
    """A server that others can reach takes plain connections that arrive over loopback."""
    log_level: str | int = LOG_LEVEL
    log_file: str | None = None
    init_file: str | None = None
    keep_token: bool = False
    """Keep the token for the clients of this account, while the server lives."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check each, and put what it stands for in its place."""
        checked: dict[str, object] = {
            "host": checked_text(self.host, "host"),
            "port": checked_port(self.port),
            "tls": checked_tls(self.tls),
            "plain_loopback": checked_flag(self.plain_loopback, "plain_loopback"),
            "log_level": checked_level(self.log_level),
            "keep_token": checked_flag(self.keep_token, "keep_token"),
            "limits": checked_limits(self.limits),
        }
        for name in ("certfile", "keyfile", "log_file", "init_file"):
            checked[name] = checked_path(getattr(self, name), name)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.keyfile is not None and self.certfile is None:
            raise ValueError("keyfile was given without its certfile: give both")


def _check_limit(name: str, value: object, kind: type) -> None:
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
        if not 0 <= value <= _LONGEST:
            raise ValueError(
                f"{name} must be a number of seconds from 0 to {_LONGEST:g}, not {value}"
            )
    elif not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    elif not 1 <= value <= _LARGEST:
        raise ValueError(f"{name} must be from 1 to {_LARGEST}, not {value}")


def _parse_limit(variable: str, text: str, kind: type) -> int | float:
    try:
        value: int | float = int(text) if kind is int else float(text)
        _check_limit(variable, value, kind)
    except ValueError:
        what = f"a whole number from 1 to {_LARGEST}" if kind is int else "a number of seconds"
        text = f"{variable} must be {what}, not {text!r}: correct it, or unset it"
        raise ValueError(text) from None
    return value


def _plain(number: float) -> int | float:
    return int(number) if isinstance(number, int) else float(number)


def checked_text(text: object, name: str) -> str:
    """Convert any kind of string (such as a member of a `StrEnum`) to a plain `str`.

    Raises `TypeError` naming the argument for anything else.
    """
    if isinstance(text, Enum) and not isinstance(text, str):
        text = text.value
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, not {type(text).__name__}")
    # Not str(text), which gives "Name.MEMBER" of an Enum that is a string as well.
    return str.__str__(text)


def checked_path(path: object, name: str) -> str | None:
    """Convert a path (string, bytes or any `os.PathLike`) to a string; None stays None.

    Raises `TypeError` naming the argument for anything else, `ValueError` if no file can
    have that path.
    """
    if path is None:
        return None
    try:
        text = str.__str__(os.fsdecode(path))  # type: ignore[arg-type]
    except TypeError:
        kind = type(path).__name__
        raise TypeError(f"{name} must be a path (a string or os.PathLike), not {kind}") from None
    if not text or "\0" in text:
        raise ValueError(f"{name} must be the path of a file, not {text!r}")
    return text


def checked_flag(flag: object, name: str) -> bool:
    """A plain bool; raises `TypeError` naming the argument for anything else."""
    if not isinstance(flag, bool):
        raise TypeError(f"{name} must be True or False, not {type(flag).__name__}")
    return flag


def checked_tls(tls: object) -> bool | None:
    """`tls`, if it is True, False or None; raises `TypeError` for anything else."""
    if tls is not None and not isinstance(tls, bool):
        raise TypeError(f"tls must be True, False or None, not {type(tls).__name__}")
    return tls


def checked_port(port: object) -> int:
    """A plain integer from 0 to 65535.

    Raises `TypeError` for what is no integer, `ValueError` for one out of that range.
    """
    if isinstance(port, bool) or not hasattr(port, "__index__"):
        raise TypeError(f"port must be an integer, not {type(port).__name__}")
    number = operator.index(port)
    if not 0 <= number <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {number}")
    return int(number)


def checked_limits(limits: object) -> Limits:
    """Return `limits`; raise `TypeError` if it is not a `Limits`."""
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be bgpy.Limits, not {type(limits).__name__}")
    return limits


def checked_level(level: object) -> str | int:
    """A log level, from its name in either case or its number, as ``logging`` takes it.

    A level that this program has defined is returned as its number, since another process
    doesn't know its name. Raises `TypeError` for anything else, and `ValueError`, listing the
    known names, for an unknown name.
    """
    if isinstance(level, Enum):
        level = level.value
    if isinstance(level, int) and not isinstance(level, bool):
        if level < 0:
            raise ValueError(f"log_level must be 0 or more, not {level}")
        return int(level)
    if not isinstance(level, str):
        raise TypeError(
            f"log_level must be the name of a level or its number, not {type(level).__name__}"
        )
    known = logging.getLevelNamesMapping()
    name = next((each for each in known if each.upper() == level.upper()), None)
    if name is None:
        raise ValueError(f"log_level must be one of {', '.join(known)}, not {level!r}")
    return name if name in _LEVELS else known[name]


def checked_seconds(seconds: float | None, name: str) -> float | None:
    """A time limit in seconds; None, and anything beyond `_LONGEST`, means no limit.

    Raises `TypeError` if it is not a number, `ValueError` if it is below 0.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if not seconds >= 0:
        raise ValueError(f"{name} must be 0 or more seconds, not {seconds}")
    return None if seconds > _LONGEST else float(seconds)


_LEVELS = ("NOTSET", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL")
_LONGEST = 10.0**9
_LARGEST = 2**62


def short_roads() -> bool:
    """Whether small calls may take their short roads."""
    return os.environ.get(ENV_ROAD) != "general"
