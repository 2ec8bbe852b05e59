"""What does what a method would do that a server or its handle doesn't have.

Who knows other libraries tries their words first. The command line does the same for its commands
(`bgpy.cli.common`).
"""

from __future__ import annotations

_TO_START = "run_background() starts the server in the background, run() serves in this process"
_TO_STOP = (
    "the handle that run_background() returns ends its server with stop(), and any client with "
    "Client(address).terminate()"
)
_TO_CALL = "calls are made by a client: Client(address).call(...)"
_TO_RESTART = "stop() ends the server; run_background() of a Server starts it again"

_CALLS = ("call", "execute", "submit", "initialize", "ping")

OF_SERVER = {
    **dict.fromkeys(("start", "serve", "serve_forever", "launch", "open"), _TO_START),
    **dict.fromkeys(("stop", "kill", "terminate", "shutdown", "close", "join", "wait"), _TO_STOP),
    **dict.fromkeys(("pid", "log_file", "is_alive"), "the handle of run_background() has it"),
    **dict.fromkeys(_CALLS, _TO_CALL),
    "restart": _TO_RESTART,
}
"""Of `bgpy.Server`."""

OF_HANDLE = {
    **dict.fromkeys(("terminate", "shutdown", "close", "end"), "stop() ends the server"),
    **dict.fromkeys(("start", "run"), "the server of a handle runs already"),
    **dict.fromkeys(("log", "logs", "output"), "log_file is the path of its log"),
    **dict.fromkeys(_CALLS, _TO_CALL),
    "join": "wait() waits for its end",
    "poll": "is_alive() tells whether it runs",
    "restart": _TO_RESTART,
}
"""Of `bgpy.Handle`."""

NO_BLOCK = (
    "a Server is no context manager: the handle is, which it returns when it is started. Write "
    "'with Server(...).run_background() as handle:'"
)


def no_attribute(owner: object, name: str, hints: dict[str, str]) -> AttributeError:
    """The error for a missing attribute, as Python words it, with what does it instead."""
    hint = f": {hints[name]}" if name in hints else ""
    text = f"{type(owner).__name__!r} object has no attribute {name!r}{hint}"
    return AttributeError(text, name=name, obj=owner)
