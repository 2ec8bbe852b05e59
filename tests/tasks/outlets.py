"""Where the answers to a call leave, in tests: they are kept."""

from __future__ import annotations

import threading
from typing import Any


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
