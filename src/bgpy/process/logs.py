"""Inside the server's process: sends all output to one log file, line by line.

::

    print, logging ─► sys.stdout, sys.stderr ─┐
    C code ─────────► stdio                   ├─► descriptors 1 and 2 ─► one appending file
    child processes ──────────────────────────┘

All write through copies of one descriptor, opened for appending: whole lines don't get
into each other's way. Since children keep their copy, rotation can't put a new file in
its place: it copies the file and cuts it to nothing. Others can, as logrotate does, or a
cleaner that removes files: about once a second the server compares the file at the log's path
with the one that it writes to, and opens the path anew if they differ. Until then all that is
written is in the old file, and what children that run already write stays there.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import stat
import sys

from bgpy.config import LOG_FORMAT
from bgpy.errors import StartupError
from bgpy.process.output import standard_stream
from bgpy.process.streams import descriptor_at
from bgpy.shortage import room_advice

_CHUNK = 2**20
_BINARY = getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0))


def open_log(path: str) -> int:
    """Open the log for appending, made with its folders where missing; give its descriptor.

    A new one is readable by its owner only. Raises `StartupError` if it can't be opened.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        return _open_appending(path)
    except OSError as error:
        raise unopened(path, error) from error


def unopened(path: str, error: OSError) -> StartupError:
    """The error for a log that can't be opened."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    why = error.strerror if os.path.isdir(folder) else f"{folder} is not a folder"
    return StartupError(
        f"the log file {path} can't be opened: {why}",
        advice=room_advice(error) or "give another path",
        log_file=path,
    )


if sys.platform == "win32":

    def _open_appending(path: str) -> int:
        """Without the right to write anywhere else each write goes to the end.

        A child's does as well then, which knows nothing of ``O_APPEND``: after a rotation it
        would write where the end was before, and leave a hole.
        """
        import ctypes
        import msvcrt

        append, read_attributes, synchronize = 0x4, 0x80, 0x100000
        share_all, open_always, normal = 7, 4, 0x80
        create = ctypes.WinDLL("kernel32", use_last_error=True).CreateFileW
        create.restype = ctypes.c_void_p
        number = ctypes.c_ulong
        create.argtypes = [
            *(ctypes.c_wchar_p, number, number, ctypes.c_void_p, number, number),
            ctypes.c_void_p,
        ]
        access = append | read_attributes | synchronize
        handle = create(path, access, share_all, None, open_always, normal, None)
        if handle in (None, ctypes.c_void_p(-1).value):
            raise ctypes.WinError(ctypes.get_last_error())
        return msvcrt.open_osfhandle(handle, os.O_APPEND | os.O_NOINHERIT)

    def _empty(path: str, fd: int) -> None:
        """Cut the log to nothing; its descriptor may only append."""
        os.truncate(path, 0)

else:

    def _open_appending(path: str) -> int:
        # A pipe that is open for reading, too, never tells that nobody reads it any more.
        access = os.O_RDWR if descriptor_at(path) is None else os.O_WRONLY
        flags = access | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | _CLOEXEC
        return os.open(path, flags, 0o600)

    def _empty(path: str, fd: int) -> None:
        """Cut the log to nothing, whatever it is called by now."""
        os.ftruncate(fd, 0)


def redirect(fd: int) -> None:
    """Send standard output and error of this process, and of those it starts, to `fd`.

    That holds for Python, for C code and for children. What was printed before, into the
    launcher's nameless file, is put into the log first.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    _copy_early_output(fd)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    # PYTHONUNBUFFERED would write each part of a line by itself; of errors each part matters.
    sys.stdout = sys.__stdout__ = standard_stream(sys.stdout, 1, True, False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = standard_stream(sys.stderr, 2, True, True)  # type: ignore[misc]
    if sys.platform != "win32":
        _buffer_c_output_by_line()


def configure_logging(level: str | int) -> None:
    """Log messages of ``bgpy.*`` at `level` and above to standard error.

    bgpy adds no handler to the root logger, which is the user's: so `basicConfig` works in a
    task, and bgpy's messages aren't written twice. Until a task installs handlers, its
    warnings and errors go to standard error in the same format. If the root logger has
    handlers already, bgpy uses those. Raises `ValueError` for an unknown level.
    """
    log = logging.getLogger("bgpy")
    log.setLevel(level)
    if logging.getLogger().handlers:
        return
    formatter = logging.Formatter(LOG_FORMAT)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
        log.addHandler(handler)
        log.propagate = False
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(formatter)


def is_at(path: str, fd: int) -> bool:
    """Whether the file open as `fd` is still the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it can't be seen just now


_takes_crashes: LogFile | None = None
"""The log to which a crash of this process writes its stacks."""


class LogFile(logging.FileHandler):
    """Appends to a log; opens its path anew once the file was removed or renamed.

    It looks before each line. Where the path can't be opened the old file is written to.
    """

    def take_crashes(self) -> None:
        """Have a crash of this process (SIGSEGV and the like) write its stacks here, until `close`.

        Those that look why the server is gone look here. One of a forked child goes to standard
        error: it would be taken for the server's own.
        """
        global _takes_crashes
        assert self.stream is not None
        faulthandler.enable(self.stream.fileno())
        _takes_crashes = self

    def close(self) -> None:
        """Close the file; a crash writes nothing there any more."""
        global _takes_crashes
        if _takes_crashes is self:
            _takes_crashes = None
            faulthandler.disable()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; failures are told as `logging` tells them, and never raised."""
        stream = self.stream
        if stream is not None and not is_at(self.baseFilename, stream.fileno()):
            try:
                self.stream = self._open()
            except OSError:
                self.handleError(record)
            else:
                if _takes_crashes is self:
                    faulthandler.enable(self.stream.fileno())
                stream.close()
        super().emit(record)


def _crash_to_stderr() -> None:
    """In a forked child: leave the log to the server."""
    global _takes_crashes
    if _takes_crashes is None:
        return
    _takes_crashes = None
    try:
        faulthandler.enable()
    except (AttributeError, OSError, RuntimeError, ValueError):
        faulthandler.disable()  # there is no standard error


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crash_to_stderr)


class Rotation:
    """Keeps the log `path`, open as `fd`, near `size` bytes, with one older file ``path.1``.

    Makes it anew where it was removed or renamed. What is no regular file of the log's own (a pipe,
    a device, a descriptor of another process) stays as it is. Nothing is lost but what is written
    between the last look at the file's end and its cutting, two system calls later
    (microseconds): no system lets both be done at once.
    """

    _INTERVAL = 1.0

    def __init__(self, path: str, fd: int, size: int) -> None:
        self._path = os.path.abspath(path)
        self._fd = fd
        self._size = size
        # A descriptor's file belongs to whoever opened it, and is no longer there by that name
        # when that process has ended.
        self._is_ours = descriptor_at(self._path) is None
        self._next_look = 0.0

    def due(self, now: float) -> bool:
        """Tell whether the log is over its size, or no longer at its path.

        Looks once a second of `now`, if monotonic.
        """
        if now < self._next_look:
            return False
        self._next_look = now + self._INTERVAL
        status = os.fstat(self._fd)
        if not (self._is_ours and stat.S_ISREG(status.st_mode)):
            return False
        return status.st_size > self._size or not is_at(self._path, self._fd)

    def renew(self) -> None:
        """Do what is due. Raises `OSError` if a file can't be opened or written.

        The log is whole then, and stays where it is.
        """
        if is_at(self._path, self._fd):
            self.rotate()
        else:
            self._reopen()

    def _reopen(self) -> None:
        """Write to the file at the log's path from now on, made where missing.

        The numbers of the descriptors stay, so writers notice nothing: each is changed from
        the old file to the new one in one step. Standard output and error stay what they are
        where a task has sent them elsewhere.
        """
        old = os.fstat(self._fd)
        new = _open_appending(self._path)
        try:
            for each in (1, 2):
                if os.path.samestat(os.fstat(each), old):
                    os.dup2(new, each)
            os.dup2(new, self._fd, inheritable=False)
        finally:
            os.close(new)

    def rotate(self) -> None:
        """Move what is in the log to ``path.1``, replacing the one there.

        Raises `OSError` if it can't be written; the log is whole then.
        """
        older = f"{self._path}.1"
        unfinished = f"{older}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NOFOLLOW | _BINARY | _CLOEXEC
        copy = os.open(unfinished, flags, 0o600)
        try:
            copied = self._copy(copy, 0)
            if sys.platform != "win32":
                os.replace(unfinished, older)
                # What was printed while it was copied; the less is left, the faster.
                self._copy(copy, copied)
            _empty(self._path, self._fd)
        finally:
            os.close(copy)
        if sys.platform == "win32":
            # An open file can't be renamed there.
            os.replace(unfinished, older)

    def _copy(self, target: int, offset: int) -> int:
        """Copy what the log holds from `offset` on; give the offset of what comes next."""
        while chunk := self._read(offset):
            _write_all(target, chunk)
            offset += len(chunk)
        return offset

    def _read(self, offset: int) -> bytes:
        if sys.platform != "win32":
            # Not by name: the file may have been renamed. Not by seeking: writers move that.
            return os.pread(self._fd, _CHUNK, offset)
        with open(self._path, "rb") as log:
            log.seek(offset)
            return log.read(_CHUNK)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _copy_early_output(fd: int) -> None:
    try:
        status = os.fstat(2)
        # Nameless: it is the launcher's, and not a file that the user sent the output to.
        if not stat.S_ISREG(status.st_mode) or (status.st_nlink and sys.platform != "win32"):
            return
        os.lseek(2, 0, os.SEEK_SET)
        while chunk := os.read(2, _CHUNK):
            _write_all(fd, chunk)
    except OSError:
        # Standard error is closed, or can't be read: then nothing is known to be in it.
        return


def _buffer_c_output_by_line() -> None:
    import ctypes

    try:
        libc = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        stdout = ctypes.c_void_p.in_dll(libc, name)
        flush, set_buffer = libc.fflush, libc.setvbuf
    except (AttributeError, ValueError):
        # A C library that doesn't show these names: its output comes in blocks.
        return
    flush(stdout)
    line_buffered = 1
    set_buffer(stdout, None, ctypes.c_int(line_buffered), ctypes.c_size_t(1024))
