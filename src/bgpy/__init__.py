"""Python processes that stay alive in the background, hold state and answer.

The public names stand here and are loaded from their modules at first use, so
that ``import bgpy`` costs next to nothing and a path pays for what it uses.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

# Type checkers know it by its name; importing it from `typing` takes 8 ms.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from bgpy import client as client
    from bgpy import errors as errors
    from bgpy import server as server
    from bgpy.api.client import Client
    from bgpy.api.handles import Handle
    from bgpy.api.server import Server
    from bgpy.config import Limits
    from bgpy.errors import (
        AlreadyResponded,
        ArgumentError,
        AuthenticationError,
        BgpyError,
        CallingSelf,
        CallTimeout,
        ConnectError,
        DecodeError,
        EncodeError,
        LocalProtocolError,
        MessageTooLarge,
        NoResponse,
        NotBgpy,
        NotInitialized,
        NotRunning,
        ProtocolError,
        PythonMismatch,
        RemoteError,
        RemoteProtocolError,
        ServerGone,
        ServerOverloaded,
        ServerRestarted,
        StaleCodeWarning,
        StartupError,
        Unreachable,
        VersionMismatch,
    )
    from bgpy.state.tokens import create as token_create
    from bgpy.tasks.client_socket import ClientSocket, Deferred, respond
    from bgpy.tasks.protocols import ExecTask, ExitTask, InitTask
    from bgpy.version import __version__

__all__ = [
    "AlreadyResponded",
    "ArgumentError",
    "AuthenticationError",
    "BgpyError",
    "CallTimeout",
    "CallingSelf",
    "Client",
    "ClientSocket",
    "ConnectError",
    "DecodeError",
    "Deferred",
    "EncodeError",
    "ExecTask",
    "ExitTask",
    "Handle",
    "InitTask",
    "Limits",
    "LocalProtocolError",
    "MessageTooLarge",
    "NoResponse",
    "NotBgpy",
    "NotInitialized",
    "NotRunning",
    "ProtocolError",
    "PythonMismatch",
    "RemoteError",
    "RemoteProtocolError",
    "Server",
    "ServerGone",
    "ServerOverloaded",
    "ServerRestarted",
    "StaleCodeWarning",
    "StartupError",
    "Unreachable",
    "VersionMismatch",
    "__version__",
    "respond",
    "token_create",
]

_ELSEWHERE = {
    "Client": ("bgpy.api.client", "Client"),
    "ClientSocket": ("bgpy.tasks.client_socket", "ClientSocket"),
    "Deferred": ("bgpy.tasks.client_socket", "Deferred"),
    "ExecTask": ("bgpy.tasks.protocols", "ExecTask"),
    "ExitTask": ("bgpy.tasks.protocols", "ExitTask"),
    "Handle": ("bgpy.api.handles", "Handle"),
    "InitTask": ("bgpy.tasks.protocols", "InitTask"),
    "Limits": ("bgpy.config", "Limits"),
    "Server": ("bgpy.api.server", "Server"),
    "__version__": ("bgpy.version", "__version__"),
    "respond": ("bgpy.tasks.client_socket", "respond"),
    "token_create": ("bgpy.state.tokens", "create"),
}
"""The public names that are not errors: module, and name in it."""

_MODULES = ("client", "errors", "server")
"""So that ``import bgpy; bgpy.errors.ServerGone`` works; 0.3.1 loaded the other two itself."""


def _load(name: str) -> object:
    """Give a public name on its first use (PEP 562) and keep it for the next."""
    if name in _MODULES:
        return import_module(f"bgpy.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'bgpy' has no attribute {name!r}")
    module, attribute = _ELSEWHERE.get(name, ("bgpy.errors", name))
    try:
        found = import_module(module)
    except (ImportError, AttributeError) as error:
        hiding = _hiding_python()
        if hiding is None:
            raise
        raise ImportError(
            f"bgpy can't be imported: {hiding} hides a module of Python's own that bgpy uses. "
            "Rename that file"
        ) from error
    value: object = getattr(found, attribute)
    globals()[name] = value
    return value


def _hiding_python() -> str | None:
    """A file beside the program that was imported in the place of one of Python's modules."""
    beside = os.path.abspath(sys.path[0] if sys.path else "")
    for name in sys.stdlib_module_names & sys.modules.keys():
        file = getattr(sys.modules[name], "__file__", None)
        if file in (os.path.join(beside, f"{name}.py"), os.path.join(beside, name, "__init__.py")):
            return str(file)
    return None


if not TYPE_CHECKING:
    # Hidden from type checkers, which would take any misspelt name for an object.
    __getattr__ = _load


def __dir__() -> list[str]:
    """The public names; not what the package needs itself, nor the modules that it has loaded."""
    special = (name for name in globals() if name.startswith("__"))
    return sorted({*special, *_MODULES, *__all__})
