"""The init file of the server under siege: its tasks, and a count of all that is unpickled."""

from __future__ import annotations

import pickle
import sys
from typing import Any

from bgpy import respond
from bgpy.codec import payload
from bgpy.engines import inline

COUNTS = {"loads": 0, "bytes": 0, "classes": 0}
_loads = pickle.loads


def _counted(data: Any, **options: Any) -> Any:
    COUNTS["loads"] += 1
    COUNTS["bytes"] += len(data)
    return _loads(data, **options)


def _hook(event: str, args: Any) -> None:
    # Raised by every unpickler, of whatever module, before it loads a class or a function.
    if event == "pickle.find_class":
        COUNTS["classes"] += 1


# The codec and the engine have names of their own for it, so that a call looks it up once.
pickle.loads = payload.loads = inline.loads = _counted
sys.addaudithook(_hook)


def init_task() -> int:
    """Count from 0."""
    return 0


def exec_task(client_socket: Any, state: int, args: dict[str, Any]) -> int:
    """Count, or tell what was unpickled."""
    if "counts" in args:
        respond(client_socket, dict(COUNTS))
        return state
    state += args["add"]
    respond(client_socket, state)
    return state


def exit_task(client_socket: Any, state: int, args: dict[str, Any]) -> None:
    """Nothing to do."""
