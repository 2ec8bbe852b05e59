"""Messages: what client and server say to each other, one immutable class each.

`bgpy.wire.table` says which number each has and who may send it, `bgpy.wire.encoding`
how it lies in a frame. A payload is a head and out-of-band buffers that only its codec
understands (a head that is sent may come in parts, one that was received is whole);
`codec` is the codec's number and `code` says that it holds bytecode. `extensions` is the
block of a request as it lies in the frame (`bgpy.wire.extensions`), empty for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple, Protocol

from bgpy.late import json
from bgpy.memory import Buffers, Head, HeadParts

CODEC_NONE = 0
CODEC_PICKLE = 1

UNLIMITED = 2**64 - 1
"""A credit's `size` where only the number of items counts."""


class Message(Protocol):
    """Any of the classes below."""

    @property
    def request(self) -> int:
        """The id of the request that the message is or belongs to, 0 for the connection."""


class Reason(IntEnum):
    """Why a request failed. A number that isn't here is kept as it is."""

    TASK = 0
    """A task raised."""
    NOT_INITIALIZED = 1
    """The server has no tasks yet."""
    NO_RESPONSE = 2
    """The task ended without a response though the client waits."""
    NOT_STARTED = 3
    """It was withdrawn, or the server ends: it never ran and never will."""
    PROTOCOL = 4
    """The peer broke the protocol; the connection is closed."""
    TOO_LARGE = 5
    """The request, or its reply, is over the limit for a message."""
    DECODE = 6
    """The request's payload can't be rebuilt."""
    PYTHON = 7
    """The payload holds bytecode of another Python version."""
    CODEC = 8
    """The server doesn't allow this codec."""
    OVERLOAD = 9
    """The server's memory for requests is used up: nothing ran, send it again later."""
    CALLING_SELF = 10
    """The caller's task, or a task that waits for it, holds this server's task thread."""
    UNSUPPORTED = 11
    """The request needs an extension that the server doesn't support: nothing ran."""
    DROPPED = 12
    """The task deferred its response, and nobody can give it any more. The task did run."""
    KEEPS_SERVING = 13
    """An exit failed in such a way that the server doesn't end."""


class ReceiptCode(IntEnum):
    """What a receipt says."""

    RECEIVED = 0
    INITIALIZED = 1
    ALREADY_INITIALIZED = 2


class Stage(StrEnum):
    """How far a request is, as a Status says it. One that isn't here is UNKNOWN."""

    WITHDRAWN = "withdrawn"
    """It never ran and never will."""
    QUEUED = "queued"
    """It waits, and will run: nobody can withdraw it."""
    ENDING = "ending"
    """An Exit that waits for its turn: the server ends, its exit task has not begun."""
    RUNNING = "running"
    DEFERRED = "deferred"
    """Its task has returned, its answer is still to come."""
    UNKNOWN = "unknown"
    """The server has no such request: it has ended, or never arrived."""


class Runs(StrEnum):
    """Which task keeps the server while a Status says how far a request is."""

    INIT = "init"
    OWN = "own"
    """A call of the client that asks, or that very one."""
    OTHER = "other"
    """A call of another client's."""
    EXIT = "exit"


# The fields of Init, Execute and Exit by place, for the road of a small call: asking a named
# tuple for a field by its name takes as long as a function call (docs/design/0012).
AT_REQUEST: Final = 0
AT_HEAD: Final = 1
AT_BUFFERS: Final = 2
AT_CODEC: Final = 3
AT_CODE: Final = 4
AT_WAIT: Final = 5
AT_EXTENSIONS: Final = 6
"""These two of Execute and Exit alone: an Init has no `wait`."""


class Init(NamedTuple):
    """The three tasks; the payload is theirs."""

    request: int
    head: Head | HeadParts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    extensions: bytes = b""


class Execute(NamedTuple):
    """Run the exec task with the payload; answer with its response if `wait`."""

    request: int
    head: Head | HeadParts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    wait: bool = False
    extensions: bytes = b""


class Exit(NamedTuple):
    """Run the exit task with the payload and end the server."""

    request: int
    head: Head | HeadParts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    wait: bool = False
    extensions: bytes = b""


class Reply(NamedTuple):
    """The payload is what the task responded; `error` if it was marked as an error."""

    request: int
    head: Head | HeadParts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    error: bool = False


class Failure(NamedTuple):
    """The request failed. Readable without its payload, which rebuilds the exception.

    `reason` is a `Reason`, or a plain number that a later version added; `type_name`
    the full name of the exception's type. Request 0 means the connection itself.
    """

    request: int
    reason: int
    type_name: str = ""
    text: str = ""
    traceback: str = ""
    head: Head | HeadParts = b""
    buffers: Buffers = ()
    codec: int = CODEC_NONE
    code: bool = False


class Receipt(NamedTuple):
    """The request arrived, or (for an Init) what came of it; `code` is a `ReceiptCode`."""

    request: int
    code: int


class Item(NamedTuple):
    """One value of a stream that belongs to a request; the payload is the value.

    Streams are numbered per request and direction; `place` counts a stream's items from
    0. After an item marked `last` the stream has no more. `error`: the stream's source
    raised, and the payload is its exception.
    """

    request: int
    head: Head | HeadParts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    last: bool = False
    error: bool = False
    stream: int = 0
    place: int = 0


class Credit(NamedTuple):
    """What the receiver of a stream has room for, counted from the stream's beginning.

    The sender may send items whose `place` is below `items`, as long as the sizes of
    those sent before add up to less than `size` bytes. `end`: the receiver wants no more.
    """

    request: int
    stream: int = 0
    items: int = 0
    size: int = UNLIMITED
    end: bool = False


class Subscribe(NamedTuple):
    """Asks for the events of some topics: the text of a JSON object."""

    request: int
    text: str = "{}"


class Event(NamedTuple):
    """Something that a task published; `request` is the subscription that it answers.

    `sequence` counts the events of the topic: a gap tells how many were dropped.
    """

    request: int
    head: Head | HeadParts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    topic: str = ""
    sequence: int = 0


class Progress(NamedTuple):
    """How far a running request is: `done` of `total` (0 if unknown), and a text."""

    request: int
    done: float
    total: float = 0.0
    text: str = ""


class Acknowledge(NamedTuple):
    """The client has the answers to all its requests up to `upto`, and to `requests`.

    The server may forget them. `requests` ascend and lie above `upto`.
    """

    upto: int = 0
    requests: tuple[int, ...] = ()
    request: int = 0


class Cancel(NamedTuple):
    """Withdraw the request `target` of this connection's client, if it hasn't started.

    `interrupt`: if it runs, interrupt it. `target` may also be a subscription.
    """

    request: int
    target: int
    interrupt: bool = False


class Ping(NamedTuple):
    """Asks for a `Pong`."""

    request: int


class Pong(NamedTuple):
    """The answer to a `Ping`."""

    request: int


class Status(NamedTuple):
    """A question or its answer: the text of a JSON object."""

    request: int
    text: str = "{}"


class Goodbye(NamedTuple):
    """The sender closes the connection on purpose; `text` says why, for a human."""

    text: str = ""
    request: int = 0


class Modules(NamedTuple):
    """Asks for modules by name, answers with their source hashes: the text of a JSON object."""

    request: int
    text: str = "{}"


# The texts of Status and Modules: JSON objects, of which either side ignores the keys that it
# doesn't know.

CALL = "call"
"""The key of a request's id in a Status that asks, and of its `Stage` in the one that answers."""
CHAIN = "chain"
"""With `CALL`, in a Status that asks: the calls that wait for that one now, in hexadecimal."""
RUNS = "runs"
"""With `CALL`, in a Status that answers: which task runs now (`Runs`); missing if none does."""
_MODULES = "modules"


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None if it is none."""
    try:
        found = json().loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def stage_text(stage: Stage, runs: Runs | None = None) -> str:
    """The text of a Status that says how far a request is, and which task runs now."""
    task = f', "{RUNS}": "{runs}"' if runs else ""
    return f'{{"{CALL}": "{stage}"{task}}}'


def stage_question(request: int, chain: bytes) -> str:
    """The text of a Status that asks how far `request` is, and says what waits for it now."""
    return f'{{"{CALL}": {request}, "{CHAIN}": "{chain.hex()}"}}'


def stage_of(text: str) -> Stage:
    """What the text of a Status says of a request."""
    found = (json_object(text) or {}).get(CALL)
    try:
        return Stage(found) if isinstance(found, str) else Stage.UNKNOWN
    except ValueError:
        return Stage.UNKNOWN


def runs_in(text: str) -> Runs | None:
    """Which task runs, as far as the text of a Status says it."""
    found = (json_object(text) or {}).get(RUNS)
    return Runs(found) if found in list(Runs) else None


def modules_text(modules: Iterable[str] | Mapping[str, str | None]) -> str:
    """The text of a Modules: names, which asks for them, or hashes by name, which answers."""
    asked_or_told = modules if isinstance(modules, dict) else list(modules)
    text: str = json().dumps({_MODULES: asked_or_told})
    return text


def modules_asked(text: str) -> list[str] | None:
    """The names that the text of a Modules asks for, or None if it is no such question."""
    names = (json_object(text) or {}).get(_MODULES)
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    return None


def modules_told(text: str) -> dict[str, str | None] | None:
    """The hashes that the text of a Modules answers with, or None if it is no such answer."""
    found = (json_object(text) or {}).get(_MODULES)
    return found if isinstance(found, dict) else None
