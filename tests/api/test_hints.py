"""Truths of what is said to who tries the words of another library."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from bgpy import Handle, Server
from bgpy.api import hints


def _server() -> Any:
    return Server("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("start", "run_background() starts the server in the background"),
        ("stop", "ends its server with stop()"),
        ("call", "Client(address).call(...)"),
        ("pid", "the handle of run_background() has it"),
    ],
)
def test_server_names_what_does_it(name: str, said: str) -> None:
    """Still an AttributeError that Python knows."""
    server = _server()
    with pytest.raises(AttributeError) as caught:
        getattr(server, name)
    assert str(caught.value).startswith(f"'Server' object has no attribute '{name}': ")
    assert said in str(caught.value)
    assert (caught.value.name, caught.value.obj) == (name, server)
    assert not hasattr(server, name)


def test_other_attributes_are_missing_as_ever() -> None:
    """No advice is made up, and what Python looks for itself is not there."""
    server = _server()
    with pytest.raises(AttributeError, match=r"^'Server' object has no attribute 'begins'$"):
        server.begins  # noqa: B018
    assert copy.copy(server).address == server.address
    assert pickle.loads(pickle.dumps(server)).address == server.address


def test_block_over_a_server_is_told_what_the_block_is_over() -> None:
    """It would look as if the server ran within the block."""
    said = r"with Server\(\.\.\.\)\.run_background\(\) as handle"
    with pytest.raises(TypeError, match=said), _server():
        pytest.fail("nothing runs")


def test_hints_name_nothing_that_is_there() -> None:
    """And the handle's are told as well."""
    assert [name for name in hints.OF_SERVER if name in vars(Server)] == []
    assert [name for name in hints.OF_HANDLE if name in vars(Handle)] == []
    handle: Any = object.__new__(Handle)
    with pytest.raises(AttributeError, match=r"'terminate': stop\(\) ends the server"):
        handle.terminate  # noqa: B018
