"""Tokens of servers elsewhere, each kept for one address (``bgpy add``)."""

from __future__ import annotations

import os

from bgpy.records import files
from bgpy.records.folders import below_host, exists_privately, make_private, safe


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
