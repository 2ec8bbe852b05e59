"""What is said of a call whose time is over: how far it came, and what it waited behind."""

from __future__ import annotations

from bgpy.errors import CallTimeout, Progress
from bgpy.wire.messages import Runs, Stage

_PROGRESS: dict[Progress, str] = {
    "not started": "it had not started, and will not run",
    "started": "it had started and is still running; its reply will be discarded",
    "unknown": "whether it ran is not known",
}
_MEANINGS = {
    Stage.QUEUED: "it has not started yet, and will run",
    Stage.ENDING: "the server is ending; exit_task has not begun: it runs, and what it responds is "
    "discarded, when all that was queued before has run",
    Stage.DEFERRED: "its task has returned; the response that is still to come will be discarded",
}
"""What to say of a call at some stages, instead of what its progress means else."""
_RUNNING = {
    Runs.INIT: "init_task is running",
    Runs.OWN: "another call of this client is running",
    Runs.OTHER: "a call of another client is running",
    Runs.EXIT: "exit_task is running",
}
"""What keeps a call waiting."""
_RAN_OUT = "exit_task has started and is still running; what it responds will be discarded"
EXITING = "exit_task has run, and the server is closing"
"""The same, of a call that has ended the server."""
NOT_SENT = "it had not been sent, since the server has not read all that was sent before"
"""The same, of a call that no byte has left of."""
UNTOLD = (
    "whether it ran is not known, since the server didn't answer that question either: its process "
    "may be stopped, or its machine out of reach"
)
"""The same, of a call that a server says nothing about."""


def by_force(pid: int) -> str:
    """How to end a server whose task runs and runs; not everybody has its handle."""
    or_kill = f", or 'kill -9 {pid}' on its machine" if pid else ""
    return f"call kill() of its handle{or_kill}"


def to_do(stage: Stage, runs: Runs | None, pid: int) -> str:
    """What to do about a request whose time is over, and which nothing takes back."""
    at_once = f"to end the server at once, and lose its state, {by_force(pid)}"
    if stage is Stage.ENDING or runs is Runs.EXIT:
        return (
            "neither another terminate() nor a call gets its response now: another time give a "
            f"longer timeout, or get what is to be kept with call() before; {at_once}"
        )
    return f"another time give a longer timeout; {at_once}"


def meaning_of(stage: Stage, runs: Runs | None) -> str | None:
    """What a stage means, and what the call waits behind; None for what its progress means."""
    if stage is Stage.RUNNING:
        return _RAN_OUT if runs is Runs.EXIT else None
    if runs is None or stage not in (Stage.WITHDRAWN, Stage.QUEUED, Stage.ENDING):
        return _MEANINGS.get(stage)
    return f"{_MEANINGS.get(stage, _PROGRESS['not started'])} ({_RUNNING[runs]})"


def timed_out(
    timeout: float | None,
    progress: Progress,
    address: object,
    meaning: str | None = None,
) -> CallTimeout:
    """The error of a call to a connected server that took longer than `timeout` seconds."""
    meaning = meaning or _PROGRESS[progress]
    problem = f"no answer from {address} within {timeout} s: {meaning}"
    return CallTimeout(problem, progress=progress, address=address)


def not_connected(timeout: float | None, address: object) -> CallTimeout:
    """The error of a call whose `timeout` seconds were over before there was a connection."""
    problem = f"no connection to {address} within {timeout} s: the call was not sent"
    return CallTimeout(problem, progress="not started", address=address)
