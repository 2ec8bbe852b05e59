"""What a client is made with, checked before anything is connected, and where its log goes."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from bgpy import config
from bgpy.address import Address, dialled
from bgpy.config import LOG_FORMAT, checked_level, checked_path, checked_seconds
from bgpy.encryption import encryption
from bgpy.errors import ArgumentError

log = logging.getLogger("bgpy.client")

A_DAY = 86400.0
"""Seconds: the longest time-out that sockets accept on all platforms."""


class ClientSettings(NamedTuple):
    """What a client is made with, beside its token and its log."""

    address: Address
    timeout: float | None
    connect_timeout: float
    tls: bool | None


def checked(
    place: Address, timeout: float | None, connect_timeout: float, tls: bool | None
) -> ClientSettings:
    """The settings of a client; raises `TypeError` or `ValueError` for those that can't be."""
    seconds = checked_seconds(timeout, "timeout")
    connecting = checked_seconds(connect_timeout, "connect_timeout")
    connecting = A_DAY if connecting is None else min(connecting, A_DAY)
    return ClientSettings(place, seconds, connecting, fitting_tls(tls, place))


def fitting_tls(tls: bool | None, place: Address) -> bool | None:
    """Return `tls` if a client can use it for `place`; else raise `TypeError` or `ValueError`."""
    tls = config.checked_tls(tls)
    encryption(dialled(place), tls)
    return tls


def checked_log(level: str | int, file: str | os.PathLike[str] | None) -> str | None:
    """The path of the log, if there is one; raises what is wrong with either."""
    checked_level(level)
    path = checked_path(file, "log_file")
    _check_writable(path)
    return path


def _check_writable(file: str | None) -> None:
    """Raise `ArgumentError` for a log that couldn't be written when its first message comes."""
    if file is None:
        return
    path = os.path.abspath(file)
    where = path if os.path.exists(path) else os.path.dirname(path)
    if os.path.isdir(path) or not os.access(where, os.W_OK):
        raise ArgumentError(
            f"log_file {file} can't be written",
            advice="give the path of a file in a folder that this user can write in",
            log_file=file,
        )


def log_to(level: str | int, file: str | None) -> None:
    """Have the client's log say what is of that level, in `file` too."""
    log.setLevel(checked_level(level))
    if file is None:
        return
    handler = logging.FileHandler(file, delay=True)
    known = [getattr(each, "baseFilename", None) for each in log.handlers]
    if handler.baseFilename not in known:
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        log.addHandler(handler)
