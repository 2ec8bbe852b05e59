"""Lines of JSON between the run and its processes, and the end of those with it.

A process of the run writes its lines to what was its standard output; whatever else
prints goes to standard error. It ends when its standard input does, that is with the run,
however that ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

Tell = Callable[[dict[str, Any]], None]


def claim_stdout() -> Tell:
    """Take standard output for lines of JSON; gives the function that writes one."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(message: dict[str, Any]) -> None:
        lines.write(json.dumps(message) + "\n")

    return tell


def end_with_stdin() -> None:
    """End this process when its standard input ends; for servers that never return."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def wait_for_stdin() -> None:
    """Return when standard input ends; for processes that have something to clean up."""
    sys.stdin.buffer.read()
