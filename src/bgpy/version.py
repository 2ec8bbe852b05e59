"""The version of bgpy, kept here alone: the package's metadata is read from this file."""

from __future__ import annotations

__version__ = "1.0.0.dev0"
