"""Where the answers to a call leave, in tests: they are kept."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from bgpy.tasks.client_socket import ClientSocket


class Out(Protocol):
    """What takes answers."""

    def reply(self, response: Any, error: bool) -> None: ...

    def fail(self, failure: BaseException) -> None: ...


class Through(ClientSocket):
    """A call whose answers go to an outlet."""

    def __init__(self, outlet: Out, waits: bool) -> None:
        super().__init__(waits)
        self._outlet = outlet

    def reply(self, response: Any, error: bool) -> None:
        self._outlet.reply(response, error)

    def end(self, failure: BaseException) -> None:
        self._outlet.fail(failure)


class Outlet:
    """Keeps what was sent through it."""

    def __init__(self) -> None:
        self.replies: list[tuple[Any, bool]] = []
        self.failures: list[BaseException] = []
        self.refusal: BaseException | None = None
        self.failed = threading.Semaphore(0)

    def reply(self, response: Any, error: bool) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.replies.append((response, error))

    def fail(self, failure: BaseException) -> None:
        self.failures.append(failure)
        self.failed.release()
