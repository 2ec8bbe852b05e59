"""What a task of 0.3.1 may send."""

from __future__ import annotations

import pickle

from bgpy.core.message import Message, MessageType
from tests.support.outlets import Outlet, through


def test_message_is_sent_as_its_args() -> None:
    """``client_socket.send(Message(MessageType.OK, {...}))`` responds with the dict."""
    outlet = Outlet()
    through(outlet).send(Message(MessageType.OK, {"value": 1}))
    through(outlet).send(Message(MessageType.ERROR, {"value": 2}))
    assert outlet.replies == [({"value": 1}, False), ({"value": 2}, True)]


def test_message_has_its_kinds_and_no_args_by_default() -> None:
    """And it can be pickled, as in 0.3.1."""
    assert {each.name for each in MessageType} == {"OK", "ERROR", "INIT", "EXEC", "EXIT"}
    message = Message(MessageType.EXEC)
    assert message.args == {}
    assert pickle.loads(pickle.dumps(message)) == message
