"""Truths of what a client says of a server that takes connections and doesn't answer."""

from __future__ import annotations

import os
import socket

import pytest

from bgpy import Client, Unreachable
from bgpy.address import Address
from bgpy.calling.blocking.hanging import kill_command
from bgpy.state import claims, records


@pytest.mark.parametrize("is_own", [True, False])
def test_process_of_the_own_server_is_named_with_the_way_to_end_it(is_own: bool) -> None:
    """From its record; of another program nothing is known."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = Address("127.0.0.1", silent.getsockname()[1])
        claim = claims.claim(place) if is_own else None
        if claim is not None:
            claim.write(records.Record.of_this_process(place, b"", "1", "/here/log"), "t" * 40)
        try:
            with (
                Client(*place, "t" * 40, connect_timeout=0.2) as client,
                pytest.raises(Unreachable, match="did not answer in time") as caught,
            ):
                client.ping()
        finally:
            if claim is not None:
                claim.release("ended in order")
    told = f"'{kill_command(os.getpid())}' ends it at once, without exit_task"
    assert (told in str(caught.value)) is is_own
    assert caught.value.pid == (os.getpid() if is_own else None)
    assert caught.value.log_file == ("/here/log" if is_own else None)
    assert ("check whether it is a bgpy server" in str(caught.value)) is not is_own
