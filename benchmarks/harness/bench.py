"""One peer under test: its server's process and its client's, both ended with the run."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping
from typing import Any

from benchmarks.harness import process
from benchmarks.harness.environments import python

LOG_LINES = 8
"""Lines of a failed process's output that its error shows."""
ENDING = 10.0
"""Seconds for a process to end by itself."""


class PeerFailed(Exception):
    """A peer's process died, was silent for too long or reported an error."""


class Program:
    """A process of the run that answers in lines of JSON."""

    def __init__(self, module: str, name: str, environment: Mapping[str, str]) -> None:
        self._what = f"{module} {name}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._rest = b""
        self._popen = subprocess.Popen(
            [python(name), "-m", module, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        self.pid = self._popen.pid

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send one line and give the answer; raises `PeerFailed`."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._failed("ended") from None
        return self.read(seconds)

    def read(self, seconds: float) -> dict[str, Any]:
        """Give the next line; raises `PeerFailed` after that time."""
        assert self._popen.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._popen.stdout], [], [], left)[0]:
                raise self._failed(f"did not answer within {seconds:.0f} s")
            chunk = os.read(self._popen.stdout.fileno(), 65536)
            if not chunk:
                raise self._failed("ended")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End it as it wants, by the end of its input, or by force."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        try:
            self._popen.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()
        self._log.close()

    def _failed(self, reason: str) -> PeerFailed:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").rstrip().splitlines()[-LOG_LINES:]
        return PeerFailed("\n    ".join([f"{self._what} {reason}", *lines]))


class Bench:
    """A server and a client of one peer; `environment` is what they get beside this process's."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._server = Program("benchmarks.harness.server", name, environment)
        try:
            self._client = Program("benchmarks.harness.client", name, environment)
        except BaseException:
            self._server.end()
            raise
        self.version: str | None = None
        self.server_pid = 0

    def start(self, seconds: float) -> None:
        """Wait until both are ready."""
        target = self._server.read(seconds)
        self.server_pid = target["pid"]
        self.version = self._client.ask({"do": "target", "target": target}, seconds)["version"]

    def measure(
        self, cores: Collection[int], seconds: float, request: dict[str, Any]
    ) -> dict[str, Any]:
        """Do one slice with server and client on `cores`; raises `PeerFailed`."""
        for pid in (self.server_pid, self._client.pid):
            try:
                process.pin(pid, cores)
            except FileNotFoundError:
                raise PeerFailed(f"a process of {self.name} is gone") from None
        return self._client.ask(request, seconds)

    def end(self) -> None:
        """End both, the client first."""
        self._client.end()
        self._server.end()
