"""Every error that bgpy raises, in one tree.

Each is also a builtin that fits, so that code which catches ``OSError``,
``TimeoutError`` or ``RuntimeError`` keeps working::

    BgpyError                    Exception
    ├── StartupError             OSError                 a server did not start
    ├── ConnectError             ConnectionError         no connection could be made
    │   ├── NotRunning           ConnectionRefusedError  nothing listens there
    │   ├── NotBgpy                                      something else answers there
    │   └── Unreachable                                  no way there, or no answer in time
    ├── AuthenticationError      PermissionError         the token is wrong or missing
    ├── ProtocolError            ConnectionError         the two sides don't understand each other
    │   ├── LocalProtocolError                           this side would have broken the protocol
    │   ├── RemoteProtocolError                          the other side broke it
    │   └── VersionMismatch                              no protocol version in common
    ├── MessageTooLarge          ValueError              over the server's limit for one message
    ├── EncodeError              TypeError               an object can't be sent
    ├── DecodeError              ValueError              an object can't be rebuilt where it arrived
    │   └── PythonMismatch                               bytecode of another Python version
    ├── NotInitialized           RuntimeError            the server has no tasks yet
    ├── NoResponse               RuntimeError            the task ended without ``respond``
    ├── AlreadyResponded         RuntimeError            a second ``respond`` to one call
    ├── CallingSelf              RuntimeError            a task waits for its own server
    ├── CallTimeout              TimeoutError            the caller's time was over
    ├── ServerGone               ConnectionError         the server went away
    ├── ServerRestarted          ConnectionError         another server process than before
    ├── ServerOverloaded         RuntimeError            the server has no room for the call now
    └── RemoteError              RuntimeError            a failure over there without a type here

Connections fail with `ConnectError` and its kin before a request is sent, with
`ServerGone` after.

What is known of a failure stands in attributes (`BgpyError`); the text is made of them, and
nothing in bgpy reads it to decide anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Advice",
    "AlreadyResponded",
    "AuthenticationError",
    "BgpyError",
    "CallTimeout",
    "CallingSelf",
    "ConnectError",
    "DecodeError",
    "EncodeError",
    "LocalProtocolError",
    "MessageTooLarge",
    "NoResponse",
    "NotBgpy",
    "NotInitialized",
    "NotRunning",
    "Progress",
    "ProtocolError",
    "PythonMismatch",
    "RemoteError",
    "RemoteProtocolError",
    "ServerGone",
    "ServerOverloaded",
    "ServerRestarted",
    "StartupError",
    "Unreachable",
    "VersionMismatch",
]

Progress = Literal["not started", "started", "unknown"]
"""How far a call that failed had come, as far as this side knows."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about an error, as a sentence without its full stop."""

    api: str
    """In the words of Python's interface: ``give tls=True``."""
    cli: str
    """In the words of the command line: ``give --tls``."""

    def __str__(self) -> str:
        return self.api


class BgpyError(Exception):
    """The root of all errors that bgpy raises.

    It is made from what happened (`problem`) and from whatever else is known, by keyword.
    """

    advice: Advice | None = None
    """What to do about it; None where nothing can be said."""
    address: str | None = None
    """The server that it is about, as ``host:port`` or ``unix:/path``."""
    pid: int | None = None
    """The process that it is about."""
    log_file: str | None = None
    """The log that tells more."""
    progress: Progress | None = None
    """How far the call had come; None where it was not about a call, or that isn't told."""
    remote: bool = False
    """Whether a task raised it, at the server: then it tells of the task's own doings, and
    nothing of the connection between this client and that server."""

    def __init__(
        self,
        *problem: object,
        advice: Advice | str | None = None,
        address: object = None,
        pid: int | None = None,
        log_file: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(*problem)
        # Only what is known goes into the instance: the class has the defaults, and the
        # instance's dict travels with a pickle.
        if advice is not None:
            self.advice = Advice(advice, advice) if isinstance(advice, str) else advice
        if address is not None:
            self.address = str(address)
        if pid is not None:
            self.pid = pid
        if log_file is not None:
            self.log_file = log_file
        if progress is not None:
            self.progress = progress

    @property
    def problem(self) -> str:
        """What happened, without the advice."""
        return super().__str__()

    def __str__(self) -> str:
        return self.text("api")

    def text(self, interface: Literal["api", "cli"]) -> str:
        """What happened and what to do, in the words of that interface."""
        if self.advice is None:
            return self.problem
        advice = self.advice.cli if interface == "cli" else self.advice.api
        return f"{self.problem}: {advice}" if self.problem else advice


class StartupError(BgpyError, OSError):
    """A server could not start; the text says why and ends with what it printed last."""

    printed: tuple[str, ...] = ()
    """The last lines that its process printed before it ended."""

    def text(self, interface: Literal["api", "cli"]) -> str:
        """As that of all; then come the lines that were printed."""
        return "".join([super().text(interface), *(f"\n    {line}" for line in self.printed)])


class ConnectError(BgpyError, ConnectionError):
    """No connection to a server could be made; nothing was sent. `address` tells which."""

    progress: Progress = "not started"


class NotRunning(ConnectError, ConnectionRefusedError):
    """Nothing listens at that address. Start a server there, or correct the address."""


class NotBgpy(ConnectError):
    """Something answers at that address, and it is not a bgpy server."""

    speaks: str | None = None
    """What it speaks, where its first bytes tell: ``"HTTP"``, ``"SSH"``, ``"TLS"``."""


class Unreachable(ConnectError):
    """There is no way to that address, or no answer within the time to connect."""


class AuthenticationError(BgpyError, PermissionError):
    """The two sides don't hold the same token, or this side holds none."""

    progress: Progress = "not started"


class ProtocolError(BgpyError, ConnectionError):
    """The two sides don't understand each other; the connection is closed."""


class LocalProtocolError(ProtocolError):
    """This side was about to break the protocol: a mistake in the program that called."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol doesn't allow."""


class VersionMismatch(ProtocolError):
    """Client and server have no protocol version in common; the message names both."""


class MessageTooLarge(BgpyError, ValueError):
    """A message is over the server's limit (``Limits.max_message``, in bytes)."""


class EncodeError(BgpyError, TypeError):
    """An object can't be sent; the message names the part of it that can't be pickled."""


class DecodeError(BgpyError, ValueError):
    """An object arrived and can't be rebuilt there; the message says what is missing."""


class PythonMismatch(DecodeError):
    """Bytecode for another Python version was refused before it was loaded."""


class NotInitialized(BgpyError, RuntimeError):
    """The server has no tasks yet. Call ``initialize`` first, or start it with an init file."""

    progress: Progress = "not started"


class NoResponse(BgpyError, RuntimeError):
    """The task ended without ``respond`` though the caller waits. The task itself did run."""


class AlreadyResponded(BgpyError, RuntimeError):
    """A task responded twice to one call; the first response stands."""


class CallingSelf(BgpyError, RuntimeError):
    """A task waits for a call to its own server, which could never be answered."""

    progress: Progress = "not started"


class CallTimeout(BgpyError, TimeoutError):
    """The caller's time was over. The connection stays usable; a late reply is dropped.

    ``progress`` is ``"not started"`` (the server withdrew the request: it never
    runs), ``"started"`` (the task still runs) or ``"unknown"`` (the server did not
    tell in time).
    """

    progress: Progress = "unknown"

    @classmethod
    def at(cls, progress: Progress, message: str) -> CallTimeout:
        """Make one that carries `progress`."""
        return cls(message, progress=progress)


class ServerGone(BgpyError, ConnectionError):
    """The server went away while a call was under way.

    ``progress`` is ``"not started"`` (the request never left whole, or the server
    said that it didn't run: calling again is safe) or ``"unknown"`` (it may have run).
    """

    progress: Progress = "unknown"

    @classmethod
    def at(cls, progress: Progress, message: str) -> ServerGone:
        """Make one that carries `progress`."""
        return cls(message, progress=progress)


class ServerRestarted(BgpyError, ConnectionError):
    """Another server process answers than before; nothing of this call ran, its state is new.

    Raised once per restart. Initialise it if need be, then call again.
    """

    progress: Progress = "not started"


class ServerOverloaded(BgpyError, RuntimeError):
    """The server has no room for the call now; nothing of it ran. Call again later."""

    progress: Progress = "not started"


class RemoteError(BgpyError, RuntimeError):
    """A failure over there that has no type here.

    ``type_name`` is the full name of the exception's type, ``message`` its text and
    ``traceback`` the remote traceback as printed there.
    """

    type_name: str = ""
    message: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, type_name: str, message: str, traceback: str) -> RemoteError:
        """Make one from what the other side told of its exception."""
        error = cls(f"{type_name}: {message}" if message else type_name)
        error.type_name, error.message, error.traceback = type_name, message, traceback
        return error
