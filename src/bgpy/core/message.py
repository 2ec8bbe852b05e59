"""Keeps 0.3.1's import path ``bgpy.core.message``."""

from __future__ import annotations

from bgpy.tasks.compatibility import Message, MessageType

__all__ = ["Message", "MessageType"]
