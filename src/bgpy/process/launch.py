"""Starts a server in a process of its own and waits until it is ready.

The process inherits the caller's working directory, environment (without the token) and
``sys.path``; it has its own session, descriptors and standard streams. What it prints before
its log is open goes to an unnamed temporary file; the log begins with that text, or the error
quotes it. `bgpy.process.bootstrap` draws the steps of one start.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from bgpy.address import Address
from bgpy.config import ENV_TOKEN, Options
from bgpy.errors import Advice, BgpyError, StartupError
from bgpy.process.bootstrap import COMMAND
from bgpy.process.readiness import Word, is_broken, messages, pack
from bgpy.process.streams import for_another_process
from bgpy.process.surroundings import warn_of_end
from bgpy.shortage import room_advice
from bgpy.state import records
from bgpy.system import files
from bgpy.system.processes import ProcessId, environment

if TYPE_CHECKING:
    import subprocess

NOT_YET = ProcessId(0, "")
"""Stands for the server's process until its pid is known."""

_TAIL_LINES = 20
_TAIL_BYTES = 16384
_FRAME = re.compile(r'  File "(.*)", line \d+ in (.*)')
"""As `faulthandler` writes it: a traceback has a comma before ``in``, and a line of source."""
_C_STACK = re.compile(r"Current thread's C stack trace |  Binary file \"|  <cannot get C stack")
"""What it writes behind that from 3.14 on."""
_HOUSE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_BOOTSTRAP = ("_bootstrap", "<module>")
"""Functions of the command that a server's process begins with."""
_ENDING = 5.0
"""Seconds for a server that failed to end by itself."""


class Started(NamedTuple):
    """A server that is ready, in a process of its own."""

    process: ProcessId
    host: str
    port: int
    log_file: str | None


def launch(options: Options, token: str, module: str) -> Started:
    """Start ``module.main(settings, ready)`` in a new process; return when it is ready.

    There is no time limit while the process lives; an exception that interrupts the wait, such
    as `KeyboardInterrupt`, ends the process first. Raises `StartupError` with the reason, and
    the last lines that the process printed, if the server can't start.
    """
    if options.log_file is not None:
        options = replace(options, log_file=for_another_process(options.log_file))
    command = [*_command(), str(Address(options.host, options.port))]
    warn_of_end()
    with _early_output() as output:
        start = _Start(_popen(command, output), output, options.log_file)
        try:
            ready = start.wait_until_ready(pack(options, token, module))
        except BaseException:
            start.cancel()
            raise
        finally:
            start.close()
    return Started(start.server, *ready[1:])


_IN_FOREGROUND = "serve in the foreground instead: call run()"


def _command() -> list[str]:
    if getattr(sys, "frozen", False):
        raise StartupError(
            "this program is a frozen executable: it has no Python interpreter to run a "
            "background server with",
            advice=_IN_FOREGROUND,
        )
    if not sys.executable:
        raise StartupError(
            "the path of the Python interpreter (sys.executable) is unknown, so this program "
            "can't start a background server",
            advice=_IN_FOREGROUND,
        )
    import subprocess  # as tempfile

    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # Not -i: a server has no prompt.
    return [sys.executable, *(flag for flag in flags if flag != "-i"), "-P", "-c", COMMAND]


def _early_output() -> IO[bytes]:
    import tempfile  # 3 ms that clients never need

    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise StartupError(
            f"no temporary file for the server's first output can be made: {error}",
            # Where none of the folders for it has room, Python tells only that.
            advice=room_advice(error) or "make room there, or set TMPDIR to another folder",
        ) from error


def _popen(command: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    import subprocess

    own = environment()
    own.pop(ENV_TOKEN, None)
    streams: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": output,
        "env": own,
    }
    try:
        if sys.platform != "win32":
            return subprocess.Popen(command, start_new_session=True, **streams)
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            return subprocess.Popen(
                command, creationflags=flags | subprocess.CREATE_BREAKAWAY_FROM_JOB, **streams
            )
        except PermissionError:
            warnings.warn(
                "the server can't leave the Windows job of its starter; "
                "it may end together with that job",
                RuntimeWarning,
                stacklevel=4,
            )
            return subprocess.Popen(command, creationflags=flags, **streams)
    except OSError as error:
        raise StartupError(f"the interpreter {command[0]} can't be started: {error}") from error


@dataclass
class _Start:
    """One start under way."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    log_file: str | None
    log_offset: int = 0
    server: ProcessId = NOT_YET

    def wait_until_ready(self, settings: bytes) -> Word:
        """Send the settings and give the message ``ready``, or raise `StartupError`."""
        self._send(settings)
        for message in self._messages():
            match message:
                case ("logs", path, offset):
                    self.log_file, self.log_offset = path, offset
                case ("ready", *_):
                    return message
                case ("failed", problem, known):
                    # Its last act: time to write out what it printed, and not to hold its port.
                    self.server.wait(_ENDING)
                    self.cancel()
                    raise self._failure(f"the server could not start: {problem}", known)
                case ("died", code):
                    raise self._failure(_ended(code))
        raise self._failure(_ended(self.process.wait()))

    def cancel(self) -> None:
        """End what was started, however far it came, and wait until it is gone."""
        if self.server is NOT_YET:
            self._end_children()
            self.process.kill()
            # The server may have been made just then; it says so, or the pipe ends.
            while self.server is NOT_YET and next(self._messages(), None):
                pass
        try:
            self.server.kill()
            # Else what it left would be taken for a crash.
            records.put_away(
                self.server,
                "was ended before it was ready",
                "the program that started it was interrupted",
            )
        except (BgpyError, OSError):
            pass  # can't be seen: its pipe ends with this start, and it ends with its pipe
        self.process.kill()

    def close(self) -> None:
        """Close the pipes and reap the child of this process."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError as error:
                if not is_broken(error):
                    raise
        if sys.platform == "win32" and self.process.poll() is None:
            # The server itself, which keeps running: without a code Popen warns of that.
            self.process.returncode = 0
        self.process.wait()

    def _send(self, settings: bytes) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        try:
            stdin.write(settings)
            stdin.close()
        except OSError as error:
            # It died at once; reading tells.
            if not is_broken(error):
                raise

    def _end_children(self) -> None:
        """End the server whose ``started`` an interrupt swallowed."""
        import psutil

        try:
            for child in psutil.Process(self.process.pid).children():
                self.server = ProcessId.of(child.pid)
                self.server.kill()
        except BgpyError:
            pass  # as in `cancel`
        except psutil.NoSuchProcess:
            pass

    def _messages(self) -> Iterator[Word]:
        for message in messages(self.process.stdout or ()):
            if message[0] == "started":
                self.server = ProcessId.of(message[1])
            yield message

    def _failure(self, problem: str, known: Mapping[str, Any] = {}) -> StartupError:
        """The error, with all that is known of this start.

        `known` is what the server's process knew: pid and log of another server that is in the
        way stand before its own.
        """
        error = StartupError(
            problem,
            advice=Advice(known["api"], known["cli"]) if "api" in known else None,
            address=known.get("address"),
            pid=known.get("pid", None if self.server is NOT_YET else self.server.pid),
            log_file=known.get("log_file", self.log_file),
        )
        error.printed = self._printed()
        return error

    def _printed(self) -> tuple[str, ...]:
        printed = _last_lines(self.output.fileno(), 0)
        if self.log_file is not None:
            try:
                with files.open_regular(self.log_file) as log:
                    logged = _last_lines(log.fileno(), self.log_offset)
            except OSError:
                logged = []
            # The log begins with what was printed before it was open.
            printed = logged or printed
        return tuple(printed)


def _last_lines(descriptor: int, offset: int) -> list[str]:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(offset, end - _TAIL_BYTES), os.SEEK_SET)
    text = os.read(descriptor, _TAIL_BYTES).decode(errors="backslashreplace")
    lines = [line for line in text.rstrip().splitlines() if not _is_noise(line)]
    return lines[-_TAIL_LINES:]


def _is_noise(line: str) -> bool:
    """Whether a line of the report of a crash is a frame of bgpy's or of C, which tells nothing."""
    frame = _FRAME.match(line)
    if frame is None:
        return _C_STACK.match(line) is not None
    return frame[1].startswith(_HOUSE) or (frame[1] == "<string>" and frame[2] in _BOOTSTRAP)


def _ended(code: int) -> str:
    return f"the server's process ended before it was ready: {_exit_reason(code)}"


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"
