"""A client on one host and a server on another, with a bad cable and a forwarder between them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psutil
import pytest

from bgpy import BgpyError, CallTimeout, Client, Handle, Server, ServerGone
from bgpy.errors import Unreachable
from bgpy.wire.handshake import MAGIC
from tests.support.namespaces import ADDRESSES, CABLES, Cable, Host, two_hosts
from tests.support.peers import PATIENCE
from tests.support.proxy import Proxy
from tests.support.tasks.troubled import TASKS, request, right_answer
from tests.support.ways import PLAIN, TOKEN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces of Linux")

LOSSY, CUT, GOOD = (0.05, 0.003), (1.0, 0.0), (0.0, 0.0)
"""Part of the packets that is lost, and seconds that the others take."""


class Wire(NamedTuple):
    """What is between client and server."""

    near: Host
    cable: Cable
    handle: Handle
    port: int
    """Of the near forwarder."""
    far_forwarder: Proxy

    def client(self) -> Client:
        """A client on the near host, which has not connected yet."""
        return PLAIN.client(self.port, connect_timeout=10.0)

    def connected(self) -> Client:
        """A client on the near host that has."""
        client = self.client()
        self.near.inside(client.ping)
        return client


@pytest.fixture(params=CABLES)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """A server on the far host, and forwarders to it from the near one's loopback."""
    with ExitStack() as stack:
        near, far, cable = stack.enter_context(two_hosts(request.param))
        handle = far.inside(PLAIN.start)
        stack.callback(handle.kill)
        there = (ADDRESSES[1], 4711)
        target = ("127.0.0.1", handle.port)
        exit_ = _forwarder(stack, far, lambda: Proxy(target, place=there))
        entry = _forwarder(stack, near, lambda: Proxy(there))
        made = Wire(near, cable, handle, entry.port, exit_)
        with made.client() as client:
            near.inside(lambda: client.initialize(*TASKS))
        yield made


def _forwarder(stack: ExitStack, host: Host, make: Callable[[], Proxy]) -> Proxy:
    made = host.inside(make)
    stack.callback(made.close)
    return made


def test_calls_are_right_when_the_cable_loses_and_reorders(wire: Wire) -> None:
    """Handshakes, small calls, futures and a large array cross a bad cable whole."""
    wire.cable.set(*LOSSY)
    data = os.urandom(2**18)
    with wire.connected() as client:
        for number in range(15):
            assert client.call(request(number)) == right_answer(number)
        futures = [client.submit(request(number)) for number in range(15, 60)]
        assert client.call({"respond": data}) == data
        for number, future in enumerate(futures, 15):
            assert future.result(60.0) == right_answer(number)
        counts = client.call({"counts": 1})
    assert counts == dict.fromkeys(range(60), 1)


def test_call_tells_the_truth_when_the_cable_is_cut_and_mended(wire: Wire) -> None:
    """In its time it ends as unknown or not started; mended, the same connection goes on."""
    told: dict[int, str] = {}
    with wire.connected() as client:
        assert client.call(request(0)) == right_answer(0)
        channel = client._caller.channel
        wire.cable.set(*CUT)
        with pytest.raises(CallTimeout) as caught:
            client.call(request(1), timeout=0.1)
        told[1] = caught.value.progress
        wire.cable.set(*GOOD)
        assert client.call(request(2)) == right_answer(2)
        assert client._caller.channel is channel
        counts = client.call({"counts": 1})
    assert told[1] in ("unknown", "not started")
    assert counts.get(1, 0) <= (told[1] == "unknown")


def test_connecting_ends_in_time_when_the_cable_is_cut(wire: Wire) -> None:
    """Nothing was sent then, and the error says so; mended, the same client connects."""
    wire.cable.set(*CUT)
    with PLAIN.client(wire.port, connect_timeout=0.2) as client:
        with pytest.raises(Unreachable, match="in time"):
            wire.near.inside(client.ping)
        wire.cable.set(*GOOD)
        assert wire.near.inside(lambda: _connects(client))


def _connects(client: Client) -> bool:
    """Whether the client connects, be it after some tries: TCP is patient after a cut."""
    for _ in range(50):
        try:
            return client.ping() >= 0
        except Unreachable:
            continue
    return False


def test_waiting_call_hears_of_it_when_the_far_forwarder_ends(wire: Wire) -> None:
    """The end of the tunnel ends the wait, without a timeout; what was sent may have run."""
    with wire.connected() as client:
        future = client.submit({"sleep": 0.3})
        wire.far_forwarder.close()
        error = future.exception(20.0)
        assert isinstance(error, ServerGone)
        assert error.progress == "unknown"
        with pytest.raises(BgpyError):
            wire.near.inside(client.ping)


def test_call_ends_when_the_far_host_is_gone_without_a_word(
    far_server: tuple[Host, Cable, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that nobody acknowledges is not waited for without end."""
    near, cable, client = far_server
    near.inside(client.ping)
    monkeypatch.setattr("bgpy.system.keepalive.GONE", 1)
    cable.set(*CUT)
    with pytest.raises(ServerGone) as caught:
        client.call(request(1))
    assert caught.value.progress == "unknown"


@pytest.fixture(params=CABLES)
def far_server(request: pytest.FixtureRequest) -> Iterator[tuple[Host, Cable, Client]]:
    """The near host, the cable, and a client there of a server that listens on the far one."""
    with ExitStack() as stack:
        near, far, cable = stack.enter_context(two_hosts(request.param))
        handle = far.inside(Server(ADDRESSES[1], 0, TOKEN).run_background)
        stack.callback(handle.kill)
        client = stack.enter_context(Client(handle.address, token=TOKEN, connect_timeout=10.0))
        near.inside(lambda: client.initialize(*TASKS))
        yield near, cable, client


def test_calls_are_right_when_tls_crosses_a_bad_cable(
    far_server: tuple[Host, Cable, Client],
) -> None:
    """Between two hosts nothing was set up but the token; a large array crosses it too."""
    near, cable, client = far_server
    cable.set(*LOSSY)
    data = os.urandom(2**18)
    assert near.inside(lambda: client.call({"respond": data}, timeout=60.0)) == data
    futures = [client.submit(request(number)) for number in range(50)]
    assert [future.result(60.0) for future in futures] == [right_answer(n) for n in range(50)]
    assert client.call({"counts": 1}) == dict.fromkeys(range(50), 1)


def test_nothing_is_said_plainly_when_the_server_is_another_host(
    far_server: tuple[Host, Cable, Client],
) -> None:
    """A plain hello is answered by the end of the connection, and no client says one."""
    near, _, client = far_server
    place = (client.host, client.port)
    with near.inside(lambda: socket.create_connection(place, PATIENCE)) as sock:
        sock.sendall(MAGIC + bytes(52))
        assert not sock.recv(1000).startswith(MAGIC)
    with pytest.raises(ValueError, match="other machines use TLS"):
        Client(*place, TOKEN, tls=False)


def test_hosts_leave_nothing_when_the_test_is_over() -> None:
    """No process, no device and no namespace stays, whichever cable was laid."""
    before = _seen()
    for kind in CABLES:
        try:
            with two_hosts(kind):
                assert _seen() != before
        except pytest.skip.Exception:
            continue
    assert _seen() == before


def _seen() -> tuple[int, set[str]]:
    return len(psutil.Process().children(recursive=True)), set(psutil.net_if_stats())
