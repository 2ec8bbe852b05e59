"""The server, in this process or in one of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bgpy import address, tokens
from bgpy.config import LOG_LEVEL, Limits, Options, checked_level
from bgpy.errors import StartupError
from bgpy.process.handle import Handle
from bgpy.process.launch import launch
from bgpy.tasks import init_file as init_files

_PROGRAM = "bgpy.api.program"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Server:
    """A server on `host` and `port`, to be run here (`run`) or in the background.

    Port 0 takes a free one, which `port` tells once the server runs. `token` defaults
    to ``BGPY_TOKEN``; where there is neither, one is made and kept, readable by this
    account only, while the server lives, so that clients of the account find it.
    `log_file` of a background server defaults to one in its folder of the state
    directory. `init_file` is a Python file with the three functions; without it a client
    brings them (`Client.initialize`). `limits` default to those that ``BGPY_MAX_MESSAGE``
    and the like set, and to `Limits()`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None = None,
        log_level: str = LOG_LEVEL,
        log_file: str | None = None,
        init_file: str | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        place = address.parse(host, port)
        given = tokens.check(token) or tokens.from_environment()
        self._token = given or tokens.create()
        self._options = Options(
            host=place.host,
            port=place.port,
            log_level=checked_level(log_level),
            log_file=log_file,
            init_file=init_file,
            keep_token=given is None,
            limits=Limits.from_environment() if limits is None else limits,
        )
        self._port = place.port

    def __repr__(self) -> str:
        return f"<Server on {address.Address(self.host, self.port)}>"

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._options.host

    @property
    def port(self) -> int:
        """The port it listens on; 0 until a server on a free port runs."""
        return self._port

    @property
    def token(self) -> str:
        """The token that its clients need."""
        return self._token

    def run(self) -> None:
        """Serve in this process and thread until a client terminates the server.

        In the main thread SIGINT and SIGTERM end it: the task that runs finishes, what
        is queued fails as not started, `exit_task` runs; a second one ends the process
        at once. Raises `StartupError` if it can't start, and what an init file raises.
        """
        from bgpy.api.running import Running

        with _logging_to_stderr(self._options.log_level, self._options.log_file):
            running = Running(self._options, self._token)
            self._port = running.address.port

            def ready() -> None:
                logging.getLogger("bgpy.server").info("listening on %s", running.address)

            running.serve(ready)

    def run_background(self) -> Handle:
        """Serve in a process of its own, which outlives this one; return when it is ready.

        It is ready once it listens and, with an init file, has run its `init_task`,
        however long that takes; Ctrl-C meanwhile ends it. It has this process's working
        directory, environment and ``sys.path``; what it prints goes to its log. Raises
        `StartupError` with the reason and the end of its log if it can't start.
        """
        if self._options.init_file is not None:
            init_files.check_exists(self._options.init_file)
        handle = launch(self._options, self._token, _PROGRAM, terminate=self._terminate)
        self._port = handle.port
        return handle

    def _terminate(self, host: str, port: int, timeout: float | None) -> None:
        from bgpy.api.client import Client

        with Client(host, port, self._token) as client:
            client.terminate(timeout=timeout)


def _file_handler(file: str) -> logging.Handler:
    try:
        return logging.FileHandler(file)
    except OSError as error:
        raise StartupError(f"the log file {file} can't be opened: {error.strerror}") from error


@contextmanager
def _logging_to_stderr(level: str, file: str | None) -> Iterator[None]:
    """Where nobody has set logging up, show bgpy's on stderr; in `file` in any case."""
    log = logging.getLogger("bgpy")
    handlers: list[logging.Handler] = []
    if not log.hasHandlers():
        handlers.append(logging.StreamHandler())
    if file is not None:
        handlers.append(_file_handler(file))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
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
