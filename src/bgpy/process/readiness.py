"""The messages between the launcher and the server's process until the server is ready.

::

    launcher ──► stdin    marshalled: the program, then a dict: the settings
    launcher ◄── stdout   lines, each with a magic start: ("started", pid)
                                                          ("logs", path, offset)
                                                          ("ready", host, port, log file)
                                                          ("failed", problem, what else is known)
                                                          ("died", exit code or -signal)

Marshal, since it is built in and both sides are the same interpreter. A line without the
magic start was printed by other code (such as a ``sitecustomize``) and is skipped.
"""

from __future__ import annotations

import errno
import marshal
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from bgpy.config import Limits, Options
from bgpy.errors import StartupError
from bgpy.process.bootstrap import LINE_MAGIC, TEXT

Settings = dict[str, Any]
"""``options`` (a dict), ``token``, ``path`` (for ``sys.path``), ``module`` (to run), ``script``."""

Word = tuple[Any, ...]
"""The word, and what belongs to it, as drawn above."""


def pack(options: Options, token: str, module: str) -> bytes:
    """Give the program and its settings as they cross the pipe."""
    path = [str(entry) for entry in sys.path if isinstance(entry, str)]
    settings = {
        "options": asdict(options),
        "token": token,
        "path": path,
        "module": module,
        "script": script(),
    }
    return marshal.dumps(TEXT) + marshal.dumps(settings)


def script() -> str:
    """The path of the script that this process runs; empty where it runs none.

    bgpy's own command line is none: it is the same for all servers. In a notebook it is that of
    the notebook, where Jupyter tells it.
    """
    first = sys.argv[0] if sys.argv else ""
    if os.path.basename(first) == "ipykernel_launcher.py":
        return os.environ.get("JPY_SESSION_NAME") or "a notebook"
    if not os.path.isfile(first) or _is_own_command(first):
        return ""
    return os.path.abspath(first)


def _is_own_command(path: str) -> bool:
    """Whether that is ``python -m bgpy`` or the script ``bgpy`` that pip makes."""
    # By the file: a server has made another module its ``__main__`` by now.
    module = os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py")
    is_module = os.path.realpath(path) == os.path.realpath(module)
    return is_module or os.path.basename(path) in ("bgpy", "bgpy.exe")


def options_of(settings: Settings) -> Options:
    """Rebuild the options from settings that crossed the pipe."""
    plain = settings["options"]
    return Options(**{**plain, "limits": Limits(**plain["limits"])})


def messages(lines: Iterable[bytes]) -> Iterator[Word]:
    """Give the messages among the lines that came over the pipe."""
    for line in lines:
        # A line that was cut short belongs to a process that died over it.
        if line.startswith(LINE_MAGIC) and line.endswith(b"\n"):
            yield marshal.loads(bytes.fromhex(line[len(LINE_MAGIC) :].decode()))


def is_broken(error: OSError) -> bool:
    """Whether writing to a pipe failed since nobody reads it; Windows says EINVAL then."""
    windows = sys.platform == "win32" and error.errno == errno.EINVAL
    return isinstance(error, BrokenPipeError) or windows


class Ready:
    """The server's end of the pipe, over which its ``main`` reports to the launcher.

    Each method raises `BrokenPipeError` if the launcher has exited; ``main`` then ends the
    server, since no client knows its address.
    """

    def __init__(self, pipe: int, starter: int = 0) -> None:
        self._pipe = pipe
        self._starter = starter

    @property
    def waited_for(self) -> bool:
        """Whether the launcher still waits: neither `ready` nor `failed` was said."""
        return self._pipe >= 0

    def logs_to(self, path: str) -> None:
        """Tell where output goes from now on, so that a failure can quote it.

        Call it before the first of this start's output gets there.
        """
        try:
            offset = os.stat(path).st_size
        except OSError:
            offset = 0
        self._tell("logs", os.path.abspath(path), offset)

    def ready(self, host: str, port: int, log_file: str | None) -> None:
        """Tell that clients can connect to `host` and `port`; the launcher returns."""
        self._tell("ready", host, port, log_file)
        self.close_in_child()
        # It is this process's parent still, or gone: then its pid isn't the parent's.
        if self._starter and os.getppid() == self._starter and sys.platform != "win32":
            import signal

            os.kill(self._starter, signal.SIGKILL)

    def failed(self, error: StartupError) -> None:
        """Tell why the server can't start, as its last act: the launcher ends what is left."""
        known: dict[str, str | int] = {}
        if error.advice is not None:
            known |= {"api": error.advice.api, "cli": error.advice.cli}
        for name in ("address", "pid", "log_file"):
            if (value := getattr(error, name)) is not None:
                known[name] = value
        self._tell("failed", error.problem, known)
        self.close_in_child()

    def close_in_child(self) -> None:
        """Close the pipe and report nothing, in a process that was forked from the server's."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _tell(self, *message: str | int | dict[str, str | int] | None) -> None:
        if self._pipe < 0:
            raise ValueError(f"the launcher no longer waits to hear {message[0]!r}")
        line = b"\n" + LINE_MAGIC + marshal.dumps(message).hex().encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._pipe, line) :]
        except OSError as error:
            if is_broken(error) and not isinstance(error, BrokenPipeError):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


def run(settings: Settings, pipe: int, starter: int) -> None:
    """Run the module named in the settings; its ``main(settings, ready)`` is the server.

    An exception before it is ready is told to the launcher, its traceback printed.
    """
    import traceback
    from importlib import import_module

    ready = Ready(pipe, starter)
    try:
        import_module(settings["module"]).main(settings, ready)
    except Exception as error:
        if not ready.waited_for:
            raise
        traceback.print_exc()
        try:
            ready.failed(StartupError("".join(traceback.format_exception_only(error)).strip()))
        except BrokenPipeError:
            pass
        sys.exit(1)
