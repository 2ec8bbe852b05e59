"""A client socket that leads to no client: it keeps the answer for the test to look at."""

from __future__ import annotations

import time
from typing import Any

from bgpy.codec import failures, payload
from bgpy.errors import NoResponse
from bgpy.system.latch import Latch
from bgpy.tasks.client_socket import ClientSocket

SILENT = "the task has not responded, and has not called defer()"
DROPPED = "the task deferred its response, and the Deferred was dropped before it had responded"
UNASKED = "the caller doesn't wait for a response (waits=False), so none is kept"


class RecordingSocket(ClientSocket):
    """Stands in for the client socket of one call, to test a task without a server.

    Give it to the task, then ask `result` what the caller would have got::

        client_socket = RecordingSocket()
        state = exec_task(client_socket, {"value": 1}, {"add": 2})
        assert client_socket.result() == {"value": 3}

    The rules are those of a server: a response has to be such that it can be pickled
    (`EncodeError`), arrives as a copy, and there is one to each call (`AlreadyResponded`).
    `waits` tells the task whether the caller waits; without that, responses are dropped.
    A task may also `defer` and answer from another thread.
    """

    def __init__(self, waits: bool = True) -> None:
        self._kept = _Kept()
        super().__init__(self._kept, self, waits)

    @property
    def error(self) -> bool:
        """Whether the response was marked as an error: ``respond(..., error=True)``."""
        return self._kept.error

    def result(self, timeout: float = 0.0) -> Any:
        """Return what the caller's call would: the response.

        Raises the exception that ``Deferred.fail`` was given, as a caller would get it, and
        `NoResponse` if the task hasn't responded. Where the task has called ``defer()``, this
        waits at most `timeout` seconds for the answer and then raises `TimeoutError`.
        """
        kept = self._kept
        if not self.waits:
            raise NoResponse(UNASKED)
        deadline = time.monotonic() + timeout
        while not kept.ended:
            if self.deferred is None:
                raise NoResponse(SILENT)
            if not kept.latch.wait(max(deadline - time.monotonic(), 0.0)) and not kept.ended:
                raise TimeoutError(f"the deferred answer has not come within {timeout:g} s")
        kept.latch.open()  # for the next one that waits
        if kept.failure is not None:
            raise kept.failure
        return kept.response


class _Kept:
    """The outlet: where the answer stays.

    `ended` is set last, and then the latch is opened: who waits at it looks again. Answers come
    from any thread, and from the collector (`drop`), so nothing here takes a lock.
    """

    def __init__(self) -> None:
        self.latch = Latch()
        self.ended = False
        self.response: Any = None
        self.error = False
        self.failure: BaseException | None = None

    def reply(self, call: RecordingSocket, response: Any, error: bool) -> None:
        if not call.waits:
            return
        head, buffers, code = payload.encode(response, "response")
        # Large arrays leave the pickle as views of their own memory, which a socket would copy.
        copied = [memoryview(bytearray(buffer)) for buffer in buffers]
        self.response = payload.decode(head, copied, code, "response")
        self.error = error
        self._end()

    def fail(self, call: RecordingSocket, failure: BaseException) -> None:
        told = failures.describe(failure)  # as it would reach the caller
        packed = told.payload or (b"", (), False)
        self.failure = failures.rebuild(told.type_name, told.text, told.traceback, *packed)
        self._end()

    def drop(self, call: RecordingSocket) -> None:
        self.failure = NoResponse(DROPPED)
        self._end()

    def settled(self, call: RecordingSocket) -> None:
        pass

    def _end(self) -> None:
        self.ended = True
        self.latch.open()
