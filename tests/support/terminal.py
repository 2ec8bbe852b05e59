"""The command line at a terminal of its own."""

from __future__ import annotations

import os
import subprocess
import sys

# The prompt asks the terminal itself, so it has to be the one that controls the process.
AT_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("bgpy", run_name="__main__", alter_sys=True)
"""


class Terminal:
    """``bgpy`` at a terminal of its own."""

    def __init__(self, *args: object) -> None:
        import pty

        self._side, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *map(str, args)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read until `text` is shown."""
        while text not in self.shown:
            assert self._read(), self.shown

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._side, f"{text}\n".encode())

    def hang_up(self) -> None:
        """Close the terminal while the process may still run."""
        os.close(self._side)

    def close(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self._side)
        return self.process.wait()

    def _read(self) -> bool:
        try:
            chunk = os.read(self._side, 4096)
        except OSError:
            return False  # how Linux tells that the process has closed its side
        self.shown += chunk.decode()
        return bool(chunk)
