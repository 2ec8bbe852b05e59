"""The command line as a process runs it."""

from __future__ import annotations

import sys

COMMAND = [sys.executable, "-m", "bgpy"]
