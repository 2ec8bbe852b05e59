"""Keeps 0.3.1's import path ``bgpy.core.token``."""

from __future__ import annotations

from bgpy.state.tokens import create as token_create
from bgpy.state.tokens import from_environment as token_getenv
from bgpy.state.tokens import remove_environment as token_delenv
from bgpy.state.tokens import set_environment as token_setenv

__all__ = ["token_create", "token_delenv", "token_getenv", "token_setenv"]
