"""The outflow over a socket that tells what it took; struck, in `test_outflow_strikes.py`."""

from __future__ import annotations

from contextlib import closing

import pytest

from bgpy.config import Limits
from bgpy.serving.budget import Budget
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.sessions.outflow import Outflow
from bgpy.serving.sessions.telling import TellingOutflow, outflow_over
from tests.support.stream_contract import receive
from tests.support.streams import STREAMS


@pytest.mark.parametrize("way", STREAMS)
def test_kind_of_socket_decides_how_it_is_asked(way: str) -> None:
    """One that may speak TLS or not is asked as one of the system's."""
    ours, theirs = STREAMS[way]()
    with closing(ours), closing(theirs):
        outflow = outflow_over(StreamTransport(ours), Limits(), Budget(2**32), lambda: None)
        assert type(outflow) is (TellingOutflow if way == "tls" else Outflow)


@pytest.mark.parametrize("way", STREAMS)
def test_small_pieces_leave_in_order_whatever_the_socket_takes(way: str) -> None:
    """At once while there is room, and behind what waits else."""
    ours, theirs = STREAMS[way]()
    attended: list[None] = []
    budget = Budget(2**32)
    with closing(ours), closing(theirs):
        transport = StreamTransport(ours)
        outflow = outflow_over(transport, Limits(), budget, lambda: attended.append(None))
        pieces = [b"%06d" % number * 100 for number in range(3000)]
        for number, piece in enumerate(pieces):
            outflow.send_small(piece, number % 7 == 3)
        assert outflow.waiting
        assert attended
        got = bytearray()
        while outflow.waiting:
            got += receive(theirs)
            outflow.flush()
        whole = b"".join(pieces)
        assert got + receive(theirs, len(whole) - len(got)) == whole
        assert budget.unsent == 0
