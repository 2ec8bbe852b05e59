"""Every error that bgpy raises, in one tree.

Each is also a fitting builtin exception, so that code that catches ``OSError``,
``TimeoutError`` or ``RuntimeError`` keeps working::

    BgpyError                    Exception
    ├── ArgumentError            ValueError              arguments that don't fit each other
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

`StaleCodeWarning`, a `UserWarning`, is no error: calls go on.

A connection that fails before a request is sent raises `ConnectError` or one of its
subclasses; one that fails later raises `ServerGone`.

The attributes of `BgpyError` hold what is known of a failure. Its text is made from them, and
bgpy never parses that text: neither should programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Advice",
    "AlreadyResponded",
    "ArgumentError",
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
    "StaleCodeWarning",
    "StartupError",
    "Unreachable",
    "VersionMismatch",
]

Progress = Literal["not started", "started", "unknown"]
"""How far a call had got when it failed, as far as this side knows."""


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

    `problem` says what happened; the keywords hold what else is known.
    """

    advice: Advice | None = None
    """What to do about it; None if there is no advice."""
    address: str | None = None
    """The server concerned, as ``host:port`` or ``unix:/path``."""
    pid: int | None = None
    """The process concerned."""
    log_file: str | None = None
    """The log with the details."""
    progress: Progress | None = None
    """How far the call had got; None if no call was involved, or the error doesn't say."""
    remote: bool = False
    """Whether a task raised this error in the server: then it concerns what the task did, and
    not the connection between this client and that server."""

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
        """What happened, at which server, and what to do, in the words of that interface."""
        problem = self.problem
        if self.address is not None and not _names(self.address, problem):
            problem = f"{self.address}: {problem}" if problem else self.address
        if self.advice is None:
            return problem
        advice = self.advice.cli if interface == "cli" else self.advice.api
        return f"{problem}: {advice}" if problem else advice


def _names(address: str, problem: str) -> bool:
    """Whether that very address stands in a text, and not one that only begins or ends like it."""
    return re.search(rf"(?<![\w.:/\[]){re.escape(address)}(?![\w/]|[.:-]\w)", problem) is not None


class ArgumentError(BgpyError, ValueError):
    """An argument doesn't fit the others; it was refused before anything ran. Correct it."""


class StartupError(BgpyError, OSError):
    """A server could not start; the text says why and ends with the last lines it printed."""

    printed: tuple[str, ...] = ()
    """The last lines that the server's process printed before it ended."""

    def text(self, interface: Literal["api", "cli"]) -> str:
        """What happened and what to do, followed by the lines of `printed`."""
        return "".join([super().text(interface), *(f"\n    {line}" for line in self.printed)])


class ConnectError(BgpyError, ConnectionError):
    """No connection to the server at `address` could be made; no request was sent."""

    progress: Progress = "not started"


class NotRunning(ConnectError, ConnectionRefusedError):
    """Nothing listens at that address. Start a server there, or correct the address."""


class NotBgpy(ConnectError):
    """Another program answers at that address, not a bgpy server. Correct the address."""

    speaks: str | None = None
    """Its protocol, if its first bytes show it: ``"HTTP"``, ``"SSH"``, ``"TLS"``."""


class Unreachable(ConnectError):
    """No route leads to that address, or nobody answered within `connect_timeout`.

    Check the network and the firewall; ``bgpy doctor ADDRESS`` helps.
    """


class AuthenticationError(BgpyError, PermissionError):
    """The client's token is not the server's, or the client has none. Give it the right one."""

    progress: Progress = "not started"


class ProtocolError(BgpyError, ConnectionError):
    """The two sides don't understand each other; the connection is closed."""


class LocalProtocolError(ProtocolError):
    """This side was about to break the protocol: a mistake in the calling program."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something that the protocol doesn't allow."""


class VersionMismatch(ProtocolError):
    """Client and server have no protocol version in common; the text names both. Upgrade one."""


class MessageTooLarge(BgpyError, ValueError):
    """A message is over the server's limit (``Limits.max_message``, in bytes)."""


class EncodeError(BgpyError, TypeError):
    """An object can't be sent; the text names the part of it that can't be pickled.

    It tells the way there, such as ``args['run'] -> function load -> global 'DB'``. Make what can't
    be sent (a connection, a lock, a model) in `init_task`, which runs in the server.
    """


class DecodeError(BgpyError, ValueError):
    """An object can't be rebuilt where it arrived; the text says what is missing there."""


class PythonMismatch(DecodeError):
    """Bytecode of another Python version was rejected before it was loaded.

    Use the same Python version on both sides, or start the server with an init file.
    """


class NotInitialized(BgpyError, RuntimeError):
    """The server has no tasks yet. Call `Client.initialize`, or start it with an init file."""

    progress: Progress = "not started"


class NoResponse(BgpyError, RuntimeError):
    """The task ran and ended without calling ``respond``, although the caller waits.

    The text says what became of what it returned, or of a response that it had deferred.
    """


class AlreadyResponded(BgpyError, RuntimeError):
    """A task responded twice to one call, or to one that had ended; what the caller got stands."""


class CallingSelf(BgpyError, RuntimeError):
    """A task called its own server and waits: the server can't run that call before it returns.

    ``progress`` is ``"not started"`` (the call never runs), or, of a future, ``"unknown"``: it
    stays queued and runs after the task.
    """

    progress: Progress = "not started"


class CallTimeout(BgpyError, TimeoutError):
    """The call timed out. The connection stays usable; a late reply is dropped.

    ``progress`` is ``"not started"`` (the server withdrew the request: it never runs),
    ``"started"`` (the task still runs) or ``"unknown"`` (the server did not say in time).
    """

    progress: Progress = "unknown"


class ServerGone(BgpyError, ConnectionError):
    """The server exited or the connection was lost during a call, or this client was closed.

    ``progress`` is ``"not started"`` (the request was never sent whole, or the server said
    that it didn't run: calling again is safe) or ``"unknown"`` (it may have run).
    """

    progress: Progress = "unknown"


class ServerRestarted(BgpyError, ConnectionError):
    """The server was restarted and its old state is lost; this call did not start.

    Raised once per restart. Initialise the server if it has no init file, then call again.
    """

    progress: Progress = "not started"


class ServerOverloaded(BgpyError, RuntimeError):
    """The server has no room for the call now; it did not start. Call again later."""

    progress: Progress = "not started"


class RemoteError(BgpyError, RuntimeError):
    """An exception of the server's whose type this process can't rebuild, or must not raise.

    The latter are those that tell Python itself something where they are raised: what ends a
    program (`KeyboardInterrupt`, `SystemExit`), an iterator (`StopIteration`, `StopAsyncIteration`,
    `GeneratorExit`) or a wait (``CancelledError`` of asyncio and of ``concurrent.futures``).

    ``type_name`` is the full name of that type, ``message`` the exception's text and
    ``traceback`` the remote traceback as the server formatted it.
    """

    type_name: str = ""
    message: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, type_name: str, message: str, traceback: str) -> RemoteError:
        """Make one from the other side's description of its exception."""
        error = cls(f"{type_name}: {message}" if message else type_name)
        error.type_name, error.message, error.traceback = type_name, message, traceback
        return error


class StaleCodeWarning(UserWarning):
    """The server runs other code than this program has loaded, or than its files hold now.

    Either it keeps tasks that another program, or an earlier version of this one, has given it, or
    it has imported a module in another version, or its init file, or a module that this uses, was
    edited after it had been loaded (told to who connects with the token that the server keeps for
    its account). ``differences`` names the parts, such as
    ``"exec_task"``, ``"__main__.step"`` and ``"module helper"``. The call goes on, with the code
    that the server has, beside what the call brings. Nothing is said of functions that this program
    and the one that gave the server its tasks have loaded in different versions of Python, whose
    code can't be compared. To replace it, terminate the server, start it
    anew and initialise it.
    """

    def __init__(self, text: str, differences: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.differences = differences
