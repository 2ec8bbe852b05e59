"""Keeps 0.3.1's import path ``bgpy.core.environment``."""

from __future__ import annotations

from bgpy.config import ENV_TOKEN, HOST, LOG_LEVEL, PORT

__all__ = ["ENV_TOKEN", "HOST", "LOG_LEVEL", "PORT", "STARTUP_TIME"]

STARTUP_TIME = 1
"""Seconds that 0.3.1 slept after starting a server. Nothing here sleeps; kept for its readers."""
