"""Keeps 0.3.1's import path ``bgpy.client``."""

from __future__ import annotations

from bgpy.api.client import Client

__all__ = ["Client"]
