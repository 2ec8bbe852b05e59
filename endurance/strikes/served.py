"""A server of one walk, and what has to hold of it at the end."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from time import monotonic, sleep

import psutil

from bgpy import BgpyError, Client, Server
from endurance.strikes.book import Book
from endurance.strikes.tasks import TASKS

PATIENCE = 5.0
"""Seconds until what has to run has run, and until the server has ended."""
IDLE = 0.5
"""Seconds that the server is looked at while nobody asks anything."""
QUIET = 0.2
"""Share of a core that an idle server uses at most: one that spins takes all of it."""


class Served:
    """A background server with the tasks of `tasks`."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(32)
        self.handle = Server("127.0.0.1", 0, token=self.token).run_background()
        with self.client() as client:
            client.initialize(*TASKS)

    def client(self) -> Client:
        """A new client of it."""
        return Client("127.0.0.1", self.handle.port, self.token)

    def last_line(self) -> str:
        """What the server's log says of the last strike there."""
        assert self.handle.log_file is not None
        lines = Path(self.handle.log_file).read_text("utf-8", "replace").splitlines()
        return next((line for line in reversed(lines) if " at " in line), "not struck")

    def verdict(self, book: Book) -> list[str]:
        """End the server; the faults found, in what it counted and in how it is."""
        try:
            with self.client() as client:
                client.ping()
                end = monotonic() + PATIENCE
                ran = client.call({"book": True}, timeout=PATIENCE)
                while book.owed(ran) and monotonic() < end:
                    sleep(0.02)
                    ran = client.call({"book": True}, timeout=PATIENCE)
                faults = book.faults(ran)
                faults += self._noise()
                client.terminate(timeout=PATIENCE)
        except BgpyError as error:
            faults = [*book.wrongs, f"the server does not serve afterwards: {error!r}"]
        if not self.handle.wait(PATIENCE):
            faults.append("the server's process did not end")
            self.handle.kill()
        if _listens(self.handle.port):
            faults.append("the server's port is still open")
        return faults

    def _noise(self) -> list[str]:
        process = psutil.Process(self.handle.pid)
        before = process.cpu_times()
        sleep(IDLE)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        return [f"the idle server used {used:.2f} s in {IDLE} s"] if used > QUIET * IDLE else []


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
