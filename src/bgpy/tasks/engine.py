"""What runs the tasks of a server, as the server sees it.

::

    server ── run(kind, payload, client_socket) ──► Engine ──► Tasks.handle
      ▲                                               │  at once: the Outcome is returned
      └──────── finished(client_socket, outcome) ◄────┘  later: None is, and this follows

An engine is given what a request holds, undecoded, and the way back to its caller. It
decodes, runs, and tells how the call ended; answers leave by the client socket while it
runs. The engine that runs tasks in the server's own task thread (`bgpy.engines.inline`)
returns each outcome at once, so that a small call is handed to no other thread. One that
runs them elsewhere (an event loop, a pool, another machine) returns None and calls
`finished` once for each of these calls, from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bgpy.memory import Payload
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.lifecycle import Kind, Outcome

Finished = Callable[[ClientSocket, Outcome], None]
"""Tells a server how a call ended that was under way when `Engine.run` returned."""


class Engine(Protocol):
    """Runs the tasks of one server."""

    initialized: bool
    """Whether `init_task` has run; read by any thread, at each request."""

    def open(self, finished: Finished) -> None:
        """Get ready; called once, in the task thread, before the first `run`.

        `finished` may be called from any thread, while `run` is under way too.
        """

    def run(
        self, kind: Kind, payload: Payload | None, client_socket: ClientSocket
    ) -> Outcome | None:
        """Run one call to its end, or begin to; called in the task thread only.

        Without a payload it is a call without arguments, or the init of the server's own
        init file. Returns the `Outcome`, or None where `finished` will tell it. The exit
        task is the last call, and comes when all others have finished.
        """

    def run_small(self, head: bytearray, client_socket: ClientSocket) -> Outcome | None:
        """As `run` of an execute whose payload is the plain pickle `head`; there are tasks."""

    def close(self) -> None:
        """Give everything back; called once, in the task thread, when nothing runs any more."""
