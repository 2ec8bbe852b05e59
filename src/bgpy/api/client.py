"""The public client: it checks arguments, packs objects and lets `bgpy.calling` do the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from bgpy import address
from bgpy.api.passing import Given, Left, Passed, pass_on, take, token_of
from bgpy.api.settings import ClientSettings, checked, checked_log, log_to
from bgpy.api.staleness import Edits, Staleness, may_name_code, name_of
from bgpy.calling.blocking.caller import Caller, current_chain
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.conversation import Answer
from bgpy.calling.results import about, executed, value_of
from bgpy.codec import fingerprint, functions, modules, payload
from bgpy.codec.payload import loads, pack, rebuild
from bgpy.codec.tracebacks import tidy
from bgpy.config import CONNECT_TIMEOUT, LOG_LEVEL, checked_seconds
from bgpy.memory import Encoded
from bgpy.state import tokens
from bgpy.system.deadlines import deadline_in, seconds_left
from bgpy.taken_down import look_out
from bgpy.tasks.signatures import Functions, check
from bgpy.wire.messages import CODEC_PICKLE, Execute, Exit, Init, Receipt, ReceiptCode

if TYPE_CHECKING:
    from concurrent.futures import Future

    from bgpy.tasks.protocols import Args, ExecTask, ExitTask, InitTask

S = TypeVar("S")
C = TypeVar("C", bound="Client")

Timeout = float | None | EllipsisType
"""Seconds, None for no limit, or ``...`` for the client's own `timeout`."""


class Client:
    """Calls the server at `host` and `port`, or at the address that `host` alone names.

    An address is ``host:port``, ``[::1]:port`` or ``unix:/path``. The client connects at
    the first call, keeps the connection, and reconnects when it has to; several threads may
    share it. `token` defaults to ``BGPY_TOKEN``, then to the token that a server of the same
    account keeps for that address, then to the token that ``bgpy add`` kept for it.
    `timeout` is the time that a call may take, in seconds, without limit if None;
    `connect_timeout` is the time for connecting and proving the token. `tls` is needed only
    for a server that was given ``tls=True`` on loopback: connections to other machines
    always use TLS.

    A client can be copied and pickled: the other one makes a connection of its own. A token
    that it was given doesn't travel, except to a process that `multiprocessing` starts: the
    other side looks one up, and its first call raises `AuthenticationError` where there is none.

    Every call may raise `ConnectError` (nothing was sent), `AuthenticationError`,
    `ServerGone`, `ServerRestarted` or `CallTimeout`; see `bgpy.errors`.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        token: str | None = None,
        log_level: str | int = LOG_LEVEL,
        log_file: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        tls: bool | None = None,
    ) -> None:
        place = address.parse(host, port)
        token = tokens.check(token)
        settings = checked(place, timeout, connect_timeout, tls)
        # All is checked before the log is opened: an invalid argument leaves no file behind.
        log_file = checked_log(log_level, log_file)
        self._set_up(settings, None if token is None else Given(token))
        log_to(log_level, log_file)

    def _set_up(self, settings: ClientSettings, given: Given | Left | None) -> None:
        """Make a client that has not connected."""
        self._address, self._timeout, self._connect_timeout, self._tls = settings
        self._given = given
        self._executed = partial(executed, self._address)
        self._ends = False  # whether the server is being ended: then its code is of no interest
        self._edits = Edits()
        self._exit_task: tuple[str, str] | None = None  # by which the server's was known here
        self._caller = Caller(
            Target(self._address, self._tls, self._find_token, self._look_at_edits),
            self._connect_timeout,
        )

    def _settings(self) -> ClientSettings:
        return ClientSettings(self._address, self._timeout, self._connect_timeout, self._tls)

    def __repr__(self) -> str:
        return f"<Client of {self._address}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # What a subclass has added goes along as the object's state.
        added = {name: value for name, value in vars(self).copy().items() if name not in _OWN}
        return _arrive, (type(self), self._settings(), pass_on(self._given)), added or None

    def __copy__(self) -> Self:
        return self._copied({}, lambda value: value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._copied(memo, lambda value: deepcopy(value, memo))

    def _copied(self, memo: dict[int, Any], copied: Callable[[Any], Any]) -> Self:
        made = memo[id(self)] = type(self).__new__(type(self))  # what leads back finds it
        made._set_up(self._settings(), self._given)
        for name, value in vars(self).copy().items():
            if name not in _OWN:
                setattr(made, name, copied(value))
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """The address of the server in one string, as `Client` and the command line take it."""
        return str(self._address)

    @property
    def host(self) -> str:
        """The server's host, or the whole address of a Unix socket."""
        return self._address.host

    @property
    def port(self) -> int:
        """The server's port; 0 for a Unix socket."""
        return self._address.port

    def initialize(
        self,
        init_task: InitTask[S],
        exec_task: ExecTask[S],
        exit_task: ExitTask[S],
        *,
        timeout: Timeout = ...,
    ) -> dict[str, str]:
        """Give the server its three functions and run `init_task` there.

        The message of the returned dict is ``"Initialization successful."``, or
        ``"Already initialized."`` if the server had tasks and changed nothing, even if these
        functions are others: to replace them, terminate the server and start it again. After a
        `CallTimeout` whose ``progress`` is not "not started", `init_task` may still be running;
        a later ``"Already initialized."`` doesn't tell whose functions the server has. If they, or
        modules that they use, are others than these, it warns with `StaleCodeWarning`. Raises what
        `init_task` raises (the server can then be initialised again), `TypeError` for
        functions that can't be called as tasks, `EncodeError` if they can't be pickled and
        `PythonMismatch` if the server runs another Python version.
        """
        self._raise_if_taken_down()
        tasks = Functions(init_task, exec_task, exit_task)
        check(tasks)
        try:
            sources = modules.used_by(tasks)
            seconds = self._seconds(timeout)
            deadline = deadline_in(seconds)
            parts = fingerprint.of_tasks(tasks._asdict())
            hashes = self._caller.hashes(sources, seconds) if sources else {}
            head, buffers, code = functions.encode_tasks(tasks, sources, hashes, parts)
            answer = self._caller.initialize(
                lambda number: Init(number, head, buffers, CODEC_PICKLE, code, current_chain()),
                seconds,
                seconds_left(deadline),
            )
            received: dict[str, str] = value_of(answer, "INIT")
            self._exit_task = name_of(exit_task)
            stale = Staleness(self._caller, self.address)
            if isinstance(answer, Receipt) and answer.code == ReceiptCode.ALREADY_INITIALIZED:
                stale.look_at_tasks(parts, sources, seconds_left(deadline))
            else:
                stale.look_at_sent(parts, sources)
            return received
        except BaseException as error:
            self._tell(error)
            raise

    def call(self, args: Args, *, timeout: Timeout = ...) -> Any:
        """Run `exec_task` with `args`, a dict, and return what it responds.

        The server adds the key ``await_response`` (does the caller wait?), as in 0.3.1.

        Raises what the task raises, `NoResponse` if it doesn't respond, `NotInitialized` if
        the server has no tasks, `EncodeError` if `args` or the response can't be pickled,
        `DecodeError` if they can't be rebuilt on the other side.
        """
        if not isinstance(args, dict):
            raise _no_dict(args, "args")
        try:
            seconds = self._timeout if timeout is ... else self._seconds(timeout)
            packed, caller = pack(args, "args"), self._caller
            answer: Answer | None = None
            if packed.__class__ is not bytes:
                answer = caller.call(packed, seconds, self._left(packed, seconds))
            elif (shortcut := caller.connector.shortcut) is not None:
                answer = shortcut.call(packed, seconds)
            if answer is None:
                answer = caller.call(packed, seconds)
            if answer.__class__ is bytearray:
                try:
                    return loads(answer)
                except Exception as error:
                    return rebuild(error, bytes(answer), (), "response")
            return value_of(answer, "EXEC")
        except BaseException as error:
            self._tell(error)
            raise

    def submit(self, args: Args, *, timeout: Timeout = ...) -> Future[Any]:
        """Run `exec_task` with `args`; the future gives what `call` would return or raise.

        Many calls can be in flight at once; they run in the order in which they were
        submitted. `submit` returns at once, even before the client is connected: it connects
        in the background, and a failure to connect (`ConnectError` and others) or `CallTimeout`
        after `timeout` seconds becomes the future's exception. It blocks only while the
        connection's send buffer is full. A small request may be sent a few milliseconds
        later, together with others, and at the latest when the client is closed or the
        program ends.

        The future is ``running`` from the start and can't be cancelled: `cancel` gives False,
        and the call runs. `timeout` withdraws a call that has not started by then. Its value is
        unpickled in the thread that calls `result`. A coroutine can await it. Its callbacks run in
        one thread of the client, one after another: a slow one delays later callbacks, but no
        call. `submit` itself raises `TypeError` and `EncodeError`.
        """
        if not isinstance(args, dict):
            raise _no_dict(args, "args")
        try:
            packed = pack(args, "args")
            if packed.__class__ is not bytes and may_name_code(packed):
                Staleness(self._caller, self.address).look_at_submit(packed)
            seconds = self._timeout if timeout is ... else self._seconds(timeout)
            return self._caller.submit(packed, self._executed, seconds)
        except BaseException as error:
            self._tell(error)
            raise

    @overload
    def execute(
        self,
        exec_args: Args,
        await_response: Literal[False] = False,
        *,
        timeout: Timeout = ...,
    ) -> dict[str, str]: ...

    @overload
    def execute(self, exec_args: Args, await_response: bool, *, timeout: Timeout = ...) -> Any: ...

    def execute(
        self, exec_args: Args, await_response: bool = False, *, timeout: Timeout = ...
    ) -> Any:
        """Run `exec_task` with `exec_args`; the server adds the key ``await_response``.

        Returns ``{"message": "Received 'EXEC'"}`` as soon as the server has queued the
        request; an error of the task is then only in the server's log. With
        `await_response` it does what `call` does.
        """
        if await_response:
            try:
                return self.call(exec_args, timeout=timeout)
            except BaseException as error:
                self._tell(error)
                raise
        if not isinstance(exec_args, dict):
            raise _no_dict(exec_args, "args")
        try:
            packed = head, buffers, code = payload.encode(exec_args, "args")
            seconds = self._seconds(timeout)
            left = self._left(packed, seconds)
            answer = self._caller.request(
                lambda number: Execute(number, head, buffers, CODEC_PICKLE, code),
                seconds,
                left,
                waits=False,
            )
            return value_of(answer, "EXEC")
        except BaseException as error:
            self._tell(error)
            raise

    @overload
    def terminate(
        self,
        exit_args: Args | None = None,
        await_response: Literal[False] = False,
        *,
        timeout: Timeout = ...,
    ) -> dict[str, str]: ...

    @overload
    def terminate(
        self,
        exit_args: Args | None = None,
        *,
        await_response: bool,
        timeout: Timeout = ...,
    ) -> Any: ...

    @overload
    def terminate(
        self, exit_args: Args | None, await_response: bool, *, timeout: Timeout = ...
    ) -> Any: ...

    def terminate(
        self,
        exit_args: Args | None = None,
        await_response: bool = False,
        *,
        timeout: Timeout = ...,
    ) -> Any:
        """Run `exit_task` with `exit_args` and end the server.

        Requests that are queued before it still run. Returns when the server has closed its
        port and, on the same machine, its process has exited: ``{"message": "Received
        'EXIT'"}``, or with `await_response` what the task responds. A server that has no tasks
        responds nothing: that message is returned with `await_response`, too. Raises what
        `exit_task` raises; the server has ended all the same. So it has after a `CallTimeout`,
        or soon will: what `exit_task` responds then is discarded. A state that must not be lost
        is saved by `exit_task` itself, or fetched with `call` before.

        Only if `exit_task` fails because its response can't be sent (`EncodeError`,
        `MessageTooLarge`) the server keeps its state and keeps serving; `terminate` without
        `await_response` ends it.
        """
        args: Args = {} if exit_args is None else exit_args
        if not isinstance(args, dict):
            raise _no_dict(args, "exit_args")
        try:
            self._ends = True
            packed = head, buffers, code = payload.encode(args, "exit_args")
            wait = bool(await_response)
            seconds = self._seconds(timeout)
            left = self._left(packed, seconds)
            if wait:
                deadline = deadline_in(seconds if left is None else left)
                Staleness(self._caller, self.address).look_at_exit(self._exit_task, seconds)
                left = seconds_left(deadline)
            answer = self._caller.terminate(
                lambda number: Exit(
                    number, head, buffers, CODEC_PICKLE, code, wait, current_chain()
                ),
                seconds,
                left,
            )
            return value_of(answer, "EXIT")
        except BaseException as error:
            self._tell(error)
            raise
        finally:
            self._ends = False

    def ping(self, *, timeout: Timeout = ...) -> float:
        """Measure the round trip to the server in seconds; it answers while a task runs too."""
        try:
            return self._caller.ping(self._seconds(timeout))
        except BaseException as error:
            self._tell(error)
            raise

    def close(self) -> None:
        """Close the connection; the server keeps running, and a later call reconnects."""
        try:
            self._caller.close()
        except BaseException as error:
            self._raise_if_taken_down()
            tidy(error)
            raise

    _raise_if_taken_down = staticmethod(look_out())

    def _tell(self, error: BaseException) -> None:
        """Make `error` tell of this server, and nothing of how bgpy met it."""
        self._raise_if_taken_down()
        tidy(about(error, self._address))

    def _seconds(self, timeout: Timeout) -> float | None:
        return self._timeout if timeout is ... else checked_seconds(timeout, "timeout")

    def _left(self, packed: Encoded, seconds: float | None) -> float | None:
        """Warn if the server has other code than `packed` names; what is left of the time then."""
        if not may_name_code(packed):
            return None
        return Staleness(self._caller, self.address).look_at_call(packed, seconds)

    def _find_token(self) -> tokens.FoundToken | None:
        return token_of(self._given, self._address)

    def _look_at_edits(self) -> None:
        """Warn, once, that the server's init file was edited, as far as its record tells that."""
        if not (self._ends or isinstance(self._given, Given)):
            self._edits.look(self._address)


_OWN = {"_address", "_timeout", "_connect_timeout", "_tls", "_given", "_executed"}
_OWN |= {"_caller", "_ends", "_edits", "_exit_task"}
"""The attributes of a client; what else one has, a subclass has added."""


def made(kind: type[C], settings: ClientSettings, given: Given | Left | None) -> C:
    """A client with these settings, and with that token or one that it looks up."""
    client = kind.__new__(kind)
    client._set_up(settings, given)
    return client


def _arrive(kind: type[Client], settings: ClientSettings, passed: Passed | None) -> Client:
    """Make the client that a pickle holds; pickles call this by its name."""
    return made(kind, settings, take(passed))


def _no_dict(args: object, name: str) -> TypeError:
    return TypeError(
        f"{name} must be a dict, not {type(args).__name__}: wrap the value in one, for example "
        '{"value": ...}'
    )
