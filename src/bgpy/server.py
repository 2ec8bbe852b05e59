"""Keeps 0.3.1's import path ``bgpy.server``."""

from __future__ import annotations

from bgpy.api.server import Server
from bgpy.tasks.client_socket import respond

__all__ = ["Server", "respond"]
