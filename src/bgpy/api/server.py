"""The public server: runs in this process, or starts a background process of its own."""

from __future__ import annotations

import faulthandler
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bgpy import address
from bgpy.api.handles import Handle
from bgpy.api.hints import NO_BLOCK, OF_SERVER, no_attribute
from bgpy.api.passing import Given, Left, found, pass_on, take
from bgpy.api.settings import ClientSettings
from bgpy.config import (
    CONNECT_TIMEOUT,
    HOST,
    LOG_FORMAT,
    LOG_LEVEL,
    Limits,
    Options,
    checked_path,
)
from bgpy.encryption import Encryption, check_token, encryption
from bgpy.errors import AuthenticationError, BgpyError, StartupError
from bgpy.late import once
from bgpy.process.launch import launch
from bgpy.state import reports, sockets, tokens
from bgpy.tasks import init_file as init_files

if TYPE_CHECKING:
    from bgpy.api.client import Client

Path = str | os.PathLike[str]

LOOK_FOR_END = 1.0
"""Seconds that the server which has the address gets to say whether it is ending."""

_PROGRAM = "bgpy.hosting.main"


class Server:
    """A server, to be run here (`run`) or in the background (`run_background`).

    The server listens on `host` and `port`, or at the address that `host` alone names:
    ``host:port``, ``[::1]:port`` or ``unix:/path``. With port 0 it takes a free port, and
    `port` gives it once the server runs. Without `host` and `port` it makes a Unix socket of
    its own, or takes a free port on systems without Unix sockets; `address` names it.

    `token` defaults to ``BGPY_TOKEN``; without either the server generates a token and keeps
    it in a file that only this account can read, so that the account's clients find it while
    the server runs. `log_level` is a level of ``logging``, by name or number. `log_file` of a
    background server defaults to one in its state folder; missing folders of its
    path are made. `init_file` is a Python file with the three functions; without it a client
    sends them (`Client.initialize`). Paths are strings or any `os.PathLike`. `limits` default to
    those set by ``BGPY_MAX_MESSAGE`` and the like, else to `Limits()`.

    If other machines can reach the server, it uses TLS, with a certificate of its own or
    that of `certfile` and `keyfile` (PEM). Clients on this machine may connect without TLS,
    unless `plain_loopback` is False. `tls=True` requires TLS on loopback too.

    Raises `TypeError` or `ValueError` naming an invalid argument.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        token: str | None = None,
        log_level: str | int = LOG_LEVEL,
        log_file: Path | None = None,
        init_file: Path | None = None,
        *,
        limits: Limits | None = None,
        tls: bool | None = None,
        certfile: Path | None = None,
        keyfile: Path | None = None,
        plain_loopback: bool = True,
    ) -> None:
        place = _place(host, port)
        chosen = tokens.for_server(tokens.check(token))
        self._given: Given | Left = Given(chosen.token)
        self._options = Options(
            host=place.host,
            port=place.port,
            log_level=log_level,
            log_file=checked_path(log_file, "log_file"),
            init_file=checked_path(init_file, "init_file"),
            keep_token=chosen.source is tokens.Source.MADE,
            limits=Limits.from_environment() if limits is None else limits,
            tls=tls,
            certfile=_absolute(certfile, "certfile"),
            keyfile=_absolute(keyfile, "keyfile"),
            plain_loopback=plain_loopback,
        )
        _encryption(self._options, place)
        check_token(place, chosen.token)
        self._port = place.port

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_given": pass_on(self._given)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _given=take(state["_given"]))

    def __repr__(self) -> str:
        return f"<Server on {self.address}>"

    if not TYPE_CHECKING:  # to which neither is there

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, OF_SERVER)

        def __enter__(self) -> object:
            raise TypeError(NO_BLOCK)

        def __exit__(self, *failure: object) -> None:
            """Never reached: a block needs it all the same."""

    @property
    def address(self) -> str:
        """Where the server listens, as a `Client` takes it in one string; see `port` for 0."""
        return str(address.Address(self.host, self.port))

    @property
    def host(self) -> str:
        """The host that the server listens on, or the whole address of a Unix socket."""
        return self._options.host

    @property
    def port(self) -> int:
        """The port that the server listens on; 0 for a Unix socket, or before it took a port."""
        return self._port

    @property
    def token(self) -> str:
        """The token that its clients need.

        Pickles don't hold it, as those of a `Client` don't: a server that was unpickled where its
        token isn't raises `AuthenticationError` here and when it is run.
        """
        given = found(self._given)
        if isinstance(given, Given):
            return given.token
        raise AuthenticationError(
            f"this Server on {self.address} was unpickled without its token, which is not pickled",
            advice="make a Server here, and give it the token if it needs that one",
            address=self.address,
        )

    def run(self) -> None:
        """Serve in this process and thread until a client terminates the server.

        In the main thread SIGINT and SIGTERM end it: the current task finishes, queued calls
        fail as not started, those of `execute` that have their receipt still run, then
        `exit_task`; a second signal, at least 1 s later, ends the process at once. Raises
        `StartupError` if the server can't start, and what an init file raises.
        """
        run_to_its_end(self)

    def _run(self) -> str:
        from bgpy.hosting.host import Host

        log_to_stderr = _logging_to_stderr(self._options.log_level, self._options.log_file)
        with self._telling_of_an_end(), log_to_stderr:
            host = Host(self._options, self.token)
            self._port = host.address.port

            def ready() -> None:
                logging.getLogger("bgpy.server").info("listening on %s", host.address)

            try:
                host.serve(ready)
            except Exception as error:
                if self._options.init_file is not None:
                    _tracebacks().strip(error)
                raise
        return host.exit_failure

    def run_background(self) -> Handle:
        """Start the server in a new process that outlives this one; return when it is ready.

        The server is ready once it listens and, with an init file, has run its `init_task`,
        however long that takes; Ctrl-C meanwhile ends it. It inherits this process's working
        directory, environment and ``sys.path``; its output goes to its log. Raises
        `StartupError` with the reason and the end of its log if it can't start.
        """
        if self._options.init_file is not None:
            init_files.check_exists(self._options.init_file)
        try:
            with self._telling_of_an_end():
                started = launch(self._options, self.token, _PROGRAM)
        except (BgpyError, KeyboardInterrupt) as error:
            _tracebacks().tidy(error)
            raise
        self._port = started.port
        return Handle(started, terminate=partial(self._terminate, started.host, started.port))

    @contextmanager
    def _telling_of_an_end(self) -> Iterator[None]:
        """Say so where the server of this account that is in the way is just ending."""
        try:
            yield
        except StartupError as error:
            if error.address is None or error.pid in (None, os.getpid()):
                raise
            place = address.parse(error.address)
            if not _is_ending(place, self.token):
                raise
            told = StartupError(
                f"the bgpy server at {place} (pid {error.pid}) is ending, but has not ended: it "
                "runs what was queued before, then exit_task, and rejects new calls",
                advice="start this one when that process has exited, or use another "
                + ("port" if place.path is None else "path"),
                address=place,
                pid=error.pid,
                log_file=error.log_file,
            )
            raise told from error

    def _terminate(self, host: str, port: int, timeout: float | None) -> None:
        with self._client(host, port) as client:
            client.terminate(timeout=timeout)

    def _client(self, host: str, port: int, timeout: float | None = None) -> Client:
        """A client of this server, which is at that address."""
        # A server beyond loopback may refuse plain connections; it always accepts TLS.
        place = address.Address(host, port)
        plain = _encryption(self._options, place) is Encryption.NONE
        settings = ClientSettings(place, timeout, CONNECT_TIMEOUT, None if plain else True)
        made: Client = _clients().made(_clients().Client, settings, self._given)
        return made


def run_to_its_end(server: Server) -> str:
    """Do what ``server.run()`` does; give what `exit_task` raised, in words; empty if nothing."""
    return server._run()


def _encryption(options: Options, place: address.Address) -> Encryption | None:
    """Whether connections to a server at `place` are encrypted; None for a name."""
    return encryption(
        place,
        options.tls,
        certificate=options.certfile is not None,
        plain_loopback=options.plain_loopback,
    )


def _is_ending(place: address.Address, own_token: str) -> bool:
    """Whether the server there answers and says that it is ending."""
    # Imported here: only a start that has failed asks.
    from bgpy.calling.blocking.asking import is_ending
    from bgpy.calling.blocking.connecting import Target

    given = tokens.FoundToken(own_token, tokens.Source.ARGUMENT)
    return is_ending(Target(place, None, lambda: tokens.known(place) or given), LOOK_FOR_END)


@once
def _clients() -> Any:
    """What makes clients, of which a program that only starts servers has no need."""
    from bgpy.api import client

    return client


@once
def _tracebacks() -> ModuleType:
    """What a start that has failed needs, and no other."""
    from bgpy.codec import tracebacks

    return tracebacks


def _absolute(path: Path | None, name: str) -> str | None:
    """The absolute path that an argument names; None without one."""
    text = checked_path(path, name)
    return None if text is None else os.path.abspath(text)


def _place(host: str | None, port: int | None) -> address.Address:
    """The address that the server was given, or one made for it."""
    if host is not None:
        return address.parse(host, port)
    if port is not None or not address.HAS_UNIX_SOCKETS:
        return address.parse(HOST, 0 if port is None else port)
    folder = sockets.socket_folder(address.LONGEST_PATH)
    return address.parse(f"unix:{folder}/{os.urandom(4).hex()}")


def _file_handler(file: str) -> logging.Handler:
    from bgpy.process.logs import LogFile, unopened

    try:
        handler = LogFile(file)
    except OSError as error:
        raise unopened(file, error) from error
    if handler.stream is not None:
        reports.begin(handler.stream.fileno())
    if not faulthandler.is_enabled():  # else the program wants them where they are
        handler.take_crashes()
    return handler


@contextmanager
def _logging_to_stderr(level: str | int, file: str | None) -> Iterator[None]:
    """Log to stderr unless the program has configured logging; to `file` in any case."""
    log = logging.getLogger("bgpy")
    handlers: list[logging.Handler] = []
    if not log.hasHandlers():
        handlers.append(logging.StreamHandler())
    if file is not None:
        handlers.append(_file_handler(file))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        log.addHandler(handler)
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
