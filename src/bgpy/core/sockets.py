"""Keeps 0.3.1's import path ``bgpy.core.sockets``, which task files annotate with."""

from __future__ import annotations

from bgpy.tasks.client_socket import ClientSocket

__all__ = ["ClientSocket"]
