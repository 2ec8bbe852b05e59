"""`Message` and `MessageType` of bgpy 0.3.1, as far as a task can meet them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class MessageType(Enum):
    """What a message is about."""

    OK = "OK"
    ERROR = "ERROR"
    INIT = "INIT"
    EXEC = "EXEC"
    EXIT = "EXIT"


@dataclass(frozen=True, slots=True)
class Message:
    """A response as a task may send it: ``client_socket.send(Message(MessageType.OK, {...}))``."""

    type: MessageType
    args: dict[str, Any] = field(default_factory=dict)
