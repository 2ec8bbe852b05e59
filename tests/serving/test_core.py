"""A whole server in a thread of this process, and clients that speak the wire by hand."""

from __future__ import annotations

import errno
import json
import pickle
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from bgpy.address import UNIX, Address
from bgpy.calling.blocking.connecting import Connected, Target, connect
from bgpy.codec.modules import Catalogue
from bgpy.config import ENV_ROAD, Limits
from bgpy.engines.inline import InlineEngine
from bgpy.serving import core as core_module
from bgpy.serving import questions
from bgpy.serving.core import Events, ServerCore
from bgpy.serving.io.listener import listen, speak_tls
from bgpy.serving.sessions import audit
from bgpy.state.tokens import FoundToken, Source
from bgpy.tasks import current
from bgpy.tasks.current import ENTRY
from bgpy.tasks.signatures import Functions
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.messages import (
    Cancel,
    Execute,
    Exit,
    Failure,
    Goodbye,
    Message,
    Modules,
    Reason,
    Status,
    modules_text,
)
from bgpy.wire.table import encode
from tests.support.ends import server_identity
from tests.support.loop import LONG
from tests.support.peers import RawClient, wait_until

LOOPBACK = Address("127.0.0.1", 0)
TOKEN = "of-a-test-and-long-enough-not-to-be-stretched"


class Unreadable:
    """Fails where it is unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


class Served:
    """A server whose tasks are the test's own functions."""

    def __init__(self, place: Address = LOOPBACK, tls: bool = False) -> None:
        self.running, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.ran: list[Any] = []
        self.kept: list[Any] = []
        self.exits: list[Any] = []
        self.outlived: list[str] = []
        self.drops = False
        functions = Functions(lambda: 0, self._exec, self._exit)
        nothing = lambda *_: None  # noqa: E731
        ready = threading.Event()
        listener = listen(place)
        if tls:
            speak_tls(listener, server_identity(), plain_loopback=False)
        self.address, self.tls = listener.address, tls
        self.port = listener.address.port
        catalogue = Catalogue()
        engine = InlineEngine(catalogue, lambda: functions)
        events = Events(ready.set, *[nothing] * 6)
        self.core = ServerCore(listener, TOKEN, Limits(), engine, catalogue, True, events, 0)
        self.failure: OSError | None = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        assert ready.wait(LONG)

    def _serve(self) -> None:
        try:
            self.core.serve()
        except OSError as error:
            self.failure = error

    def _exec(self, client_socket: Any, state: Any, args: dict[str, Any]) -> None:
        self.ran.append(args.get("n"))
        if "wait" in args:
            current.chain()  # it has a serial from here on, as a call that calls a server has
            self.running.release()
            assert self.go_on.acquire(timeout=LONG)
        if "defer" in args:
            self.kept.append(client_socket.defer())
        elif "raise" in args:
            raise args["raise"]
        else:
            client_socket.respond(args.get("n"))

    def _exit(self, client_socket: Any, state: Any, args: dict[str, Any]) -> None:
        self.exits.append(args)
        if self.drops:
            self.kept.clear()
        client_socket.respond("exited")

    def client(self) -> RawClient:
        return RawClient(self.port, TOKEN)

    def connect(self) -> Connected:
        """As `client`, over whatever the server listens at."""
        token = FoundToken(TOKEN, Source.ARGUMENT)
        return connect(Target(self.address, self.tls or None, lambda: token), b"g" * 16, LONG)

    def busy(self, client: RawClient) -> None:
        """Have a task run until `go_on`."""
        send(client, Execute(90, pickle.dumps({"wait": 1})))
        assert client.receive().request == 90
        assert self.running.acquire(timeout=LONG)

    def wait_ended(self) -> None:
        self.thread.join(LONG)
        assert not self.thread.is_alive(), "the server goes on"


@pytest.fixture(params=["general", "short"])
def on_both_roads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the test takes small calls on one road, then on the other."""
    monkeypatch.setenv(ENV_ROAD, request.param)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    for _ in range(9):
        served.go_on.release()
    served.core.interrupt()
    served.wait_ended()


@pytest.fixture
def served_on_road(on_both_roads: None, served: Served) -> Served:
    """The same, on either road."""
    return served


def send(client: RawClient, *messages: Message) -> None:
    client.send(b"".join(bytes(piece) for message in messages for piece in encode(message)))


def said(message: Message) -> str:
    if isinstance(message, Failure):
        return Reason(message.reason).name
    return type(message).__name__


def stage(client: RawClient, target: int) -> Any:
    send(client, Cancel(50, target))
    answer = client.receive()
    assert isinstance(answer, Status)
    return json.loads(answer.text)["call"]


ARGS = pickle.dumps({})
BROKEN = pickle.dumps({"x": Unreadable()})


def _first_unread(served: Served, one: RawClient, two: RawClient) -> list[list[str]]:
    send(one, Exit(1, BROKEN))
    send(two, Exit(1, ARGS), Exit(2, ARGS, wait=True))
    two_reads = one.status  # after it the server has read both
    assert two_reads()["ending"]
    assert two.status()["ending"]
    served.go_on.release()
    return [["DECODE"], ["Receipt", "NOT_STARTED"]]


def _both_unread_and_interrupted(served: Served, one: RawClient, two: RawClient) -> list[list[str]]:
    send(one, Exit(1, BROKEN))
    send(two, Exit(1, BROKEN))
    assert one.status()["ending"]
    assert two.status()["ending"]
    served.core.interrupt()
    served.go_on.release()
    return [["DECODE"], ["DECODE"]]


def _many_from_one(served: Served, one: RawClient, two: RawClient) -> list[list[str]]:
    send(one, *(Exit(number, ARGS) for number in range(1, 6)))
    assert one.status()["ending"]
    send(two, Execute(1, ARGS, wait=True))
    assert said(two.receive()) == "NOT_STARTED"
    served.go_on.release()
    return [["Receipt"] * 5, []]


WAYS = [_first_unread, _both_unread_and_interrupted, _many_from_one]


@pytest.mark.parametrize("way", WAYS)
def test_server_ends_and_answers_everyone_whoever_asks(
    served: Served, way: Callable[[Served, RawClient, RawClient], list[list[str]]]
) -> None:
    """Several exits at once, also with one that can't be read, also with an interrupt."""
    with served.client() as one, served.client() as two:
        served.busy(one)
        expected = way(served, one, two)
        answers = []
        for client in (one, two):
            messages = [m for m in client.read_to_end() if m.request]
            answers.append([said(message) for message in sorted(messages, key=_request)])
        assert answers == expected
    served.wait_ended()
    assert len(served.exits) == 1


def _request(message: Message) -> int:
    return message.request


def test_cancel_says_how_far_a_call_is(served: Served) -> None:
    """A receipted request is never withdrawn; what is answered or withdrawn is not both."""
    with served.client() as one:
        served.busy(one)
        send(one, Execute(1, pickle.dumps({"n": 1})), Execute(2, ARGS, wait=True))
        assert one.receive().request == 1
        assert stage(one, 90) == "running"
        assert stage(one, 1) == "queued"
        assert stage(one, 2) == "withdrawn"
        assert stage(one, 2) == "unknown"
        send(one, Execute(3, pickle.dumps({"defer": 1}), wait=True), Execute(4, ARGS, wait=True))
        served.go_on.release()
        assert one.receive().request == 4
        assert 1 in served.ran
        assert stage(one, 3) == "deferred"
        served.kept.pop().respond("late")
        assert one.receive().request == 3
        assert stage(one, 3) == "unknown"


def test_exit_that_waits_is_ending_and_has_not_begun(served: Served) -> None:
    """Whoever has the last turn, and those behind it; none can be withdrawn."""
    with served.client() as one:
        served.busy(one)
        send(one, Exit(1, ARGS), Exit(2, ARGS, wait=True))
        assert [stage(one, 1), stage(one, 2)] == ["ending", "ending"]
        assert not served.exits


def test_questions_of_a_client_that_has_gone_are_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that polls has its time for those who wait."""
    monkeypatch.setattr(questions, "SLICE", 0.0)  # nothing is answered meanwhile
    asked = served.core._parts.questions
    with served.client() as one:
        send(one, Modules(1, modules_text(["json"])))
        wait_until(lambda: bool(asked._askers), "the question waits")
    wait_until(lambda: not asked._askers, "it is dropped")
    monkeypatch.undo()
    with served.client() as two:
        send(two, Modules(2, modules_text(["json"])))
        assert two.receive().request == 2


def test_status_counts_failures_that_nobody_waits_for(served: Served) -> None:
    """With the last one's text; whoever waits for a failure sees it itself."""
    with served.client() as one:
        assert one.status()["unseen_failures"] == 0
        for wait in (False, True):
            send(one, Execute(1, pickle.dumps({"raise": KeyError("gone")}), wait=wait))
            one.receive()
        send(one, Execute(2, BROKEN))
        one.receive()
        wait_until(lambda: one.status()["unseen_failures"] == 2, "both are counted")
        assert "can't be rebuilt" in one.status()["last_unseen_failure"]


def test_request_is_refused_when_its_chain_holds_the_running_call(served: Served) -> None:
    """It would wait for itself; a call that has ended keeps nobody."""
    incarnation = served.core.welcome.incarnation

    def chain(serial: int, of: bytes = incarnation) -> bytes:
        value = ENTRY.pack(b"o" * 16, 1) + ENTRY.pack(of, serial)
        return encode_extensions({Extension.CHAIN: value})

    with served.client() as one:
        served.busy(one)
        served.go_on.release()
        served.busy(one)  # the second call with a serial; the first has ended
        send(
            one,
            Execute(1, ARGS, wait=True, extensions=chain(2)),
            Exit(2, ARGS, extensions=chain(2)),
            Execute(3, ARGS, wait=False, extensions=chain(2)),
            Execute(4, ARGS, wait=True, extensions=chain(1)),
            Execute(5, ARGS, wait=True, extensions=chain(2, b"n" * 16)),
        )
        assert [said(one.receive()) for _ in range(3)] == ["CALLING_SELF"] * 2 + ["Receipt"]
        served.go_on.release()
        assert [said(one.receive()) for _ in range(2)] == ["Reply"] * 2


def test_request_is_refused_when_its_chain_grows_by_the_running_call(served: Served) -> None:
    """Whoever waits for it began to do so later than it came; one that runs is left alone."""
    incarnation = served.core.welcome.incarnation

    def grows(request: int, serial: int) -> Status:
        chain = ENTRY.pack(b"o" * 16, 1) + ENTRY.pack(incarnation, serial)
        return Status(0, json.dumps({"call": request, "chain": chain.hex()}))

    with served.client() as one:
        served.busy(one)
        served.go_on.release()
        served.busy(one)  # the second call with a serial; the first has ended
        send(
            one,
            *(Execute(number, ARGS, wait=True) for number in (1, 2)),
            *(
                question._replace(request=number)
                for number, question in enumerate([grows(1, 2), grows(2, 1), grows(9, 2)], 11)
            ),
        )
        assert [said(one.receive()) for _ in range(4)] == ["CALLING_SELF", *["Status"] * 3]
        served.go_on.release()
        reply = one.receive()
        assert (said(reply), reply.request) == ("Reply", 2)


@pytest.mark.parametrize("chain", [7, "no digits", "00", "00" * 24 * 65])
def test_question_with_what_is_no_chain_breaks_the_protocol(served: Served, chain: object) -> None:
    """A chain has whole entries, and no more than a server keeps for each call."""
    with served.client() as one:
        send(one, Status(1, json.dumps({"call": 1, "chain": chain})))
        assert said(one.receive()) == "PROTOCOL"


def test_request_alone_fails_when_it_requires_what_is_not_supported(served: Served) -> None:
    """The connection stays, and what may be ignored is."""
    required = encode_extensions({Extension.KEY: b"k"}, {Extension.KEY})
    with served.client() as one:
        send(
            one,
            Execute(1, ARGS, wait=True, extensions=required),
            Execute(2, ARGS, wait=True, extensions=encode_extensions({Extension.KEY: b"k"})),
        )
        assert [said(one.receive()) for _ in range(2)] == ["UNSUPPORTED", "Reply"]


def test_requests_run_when_their_client_has_closed(served: Served) -> None:
    """What it had handed over is not taken back by its going."""
    with served.client() as other:
        served.busy(other)
        with served.client() as one:
            send(one, *(Execute(n, pickle.dumps({"n": n})) for n in range(1, 51)))
        wait_until(lambda: other.status()["queued"] == 50, "all have been read")
        served.go_on.release()
        wait_until(lambda: served.ran[1:] == list(range(1, 51)), "all have run, in order")


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_nothing_runs_behind_a_goodbye(served_on_road: Served, ahead: int) -> None:
    """Also what came in the same bytes: its client has said that it asks for nothing more."""
    before = [_numbered(n) for n in range(1, ahead + 1)]
    behind = [_numbered(n) for n in range(7, 9)]
    with served_on_road.client() as one:
        send(one, *before, Goodbye("done"), *behind)
        one.read_to_end()
    with served_on_road.client() as other:
        send(other, _numbered(9))
        assert said(other.receive()) == "Reply"
    assert served_on_road.ran == [*range(1, ahead + 1), 9]


def _numbered(number: int) -> Execute:
    return Execute(number, pickle.dumps({"n": number}), wait=True)


def test_strangers_that_were_left_out_of_the_log_are_counted_when_the_server_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No line follows that would tell of them."""
    monkeypatch.setattr(audit, "BURST", 1)
    monkeypatch.setattr(audit, "RATE", 0.0)
    server = Served()
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", server.port), LONG) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert stranger.recv(1) == b""
    server.core.interrupt()
    server.wait_ended()
    texts = [record.getMessage() for record in caplog.records]
    assert "3 more connections ended before proving the token" in texts


# What clients hear of an end in order

ENDED = [
    Failure(0, Reason.NOT_STARTED, text="the server ended"),
    Goodbye("the server ended"),
]


@pytest.fixture(params=["tcp", "tls", "unix"])
def served_at(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server at each kind of address; the test ends it."""
    if request.param != "unix":
        yield Served(tls=request.param == "tls")
        return
    if sys.platform == "win32":
        pytest.skip("Python has no Unix sockets here")
    with tempfile.TemporaryDirectory() as folder:
        yield Served(Address(f"{UNIX}{folder}/s", 0))


def _told(client: Connected) -> list[Message]:
    """All that comes until the server has ended its side."""
    messages: list[Message] = []
    memory = memoryview(bytearray(2**16))
    client.reached.sock.settimeout(LONG)
    while count := client.reached.sock.recv_into(memory):
        messages += client.connection.receive(memory[:count])
    return messages


def _say(client: Connected, *messages: Message) -> None:
    for message in messages:
        data = memoryview(b"".join(map(bytes, client.connection.send(message))))
        while data:
            data = data[client.reached.sock.send(data) :]


def test_client_that_sends_while_the_server_ends_is_told_so(
    served_at: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much it sends before it reads: nothing of that resets the connection."""
    monkeypatch.setattr(core_module, "QUIET", LONG)
    monkeypatch.setattr(core_module, "LINGER", LONG)
    client = served_at.connect()
    served_at.core.interrupt()
    wait_until(lambda: served_at.exits, "exit_task has run")
    for number in range(1, 301):
        _say(client, Execute(number, pickle.dumps({"n": bytes(3000)}), wait=True))
    messages = _told(client)
    assert messages[-2:] == ENDED
    refused = [(said(each), each.request) for each in messages[:-2]]
    assert refused == [("NOT_STARTED", number + 1) for number in range(len(refused))]
    assert served_at.ran == []
    client.reached.sock.close()
    served_at.wait_ended()


def _send_for_ever(client: Connected) -> NoReturn:
    while True:
        _say(client, Execute(1, bytes(1000)))


def test_server_ends_at_once_when_its_clients_are_idle(
    served_at: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read what they were told when they want something next."""
    monkeypatch.setattr(core_module, "LINGER", 1000.0)
    idle = [served_at.connect() for _ in range(3)]
    served_at.core.interrupt()
    served_at.wait_ended()
    for client in idle:
        assert _told(client) == ENDED
        client.reached.sock.close()


def test_client_that_sends_on_is_waited_for_no_longer_than_its_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may never read what it was told."""
    monkeypatch.setattr(core_module, "LINGER", 0.2)
    client = served.connect()
    served.core.interrupt()
    with pytest.raises((ConnectionError, TimeoutError)):
        _send_for_ever(client)
    client.reached.sock.close()
    served.wait_ended()


def test_deferred_call_that_exit_task_drops_has_run(served: Served) -> None:
    """Its client is told that, and not that it has not run."""
    served.drops = True
    with served.client() as one:
        send(one, Execute(1, pickle.dumps({"defer": 1}), wait=True))
        wait_until(lambda: served.kept, "it is deferred")
        served.core.interrupt()
        messages = one.read_to_end()
    assert [said(each) for each in messages] == ["DROPPED", "NOT_STARTED", "Goodbye"]


def test_client_whose_answer_is_on_its_way_is_not_told_that_all_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread is just making it: whether the call ran isn't for the end to say."""
    making, go_on = threading.Event(), threading.Event()

    class Slow:
        def __reduce__(self) -> Any:
            making.set()
            assert go_on.wait(LONG)
            return int, ()

    with served.client() as one, served.client() as other:
        send(one, Execute(1, pickle.dumps({"defer": 1}), wait=True))
        wait_until(lambda: served.kept, "it is deferred")
        thread = threading.Thread(target=served.kept[0].respond, args=(Slow(),))
        thread.start()
        assert making.wait(LONG)
        served.core.interrupt()
        assert other.read_to_end() == ENDED
        assert one.read_to_end() == ENDED[1:]
        go_on.set()
        thread.join(LONG)


@pytest.mark.parametrize("step", ["closing", "port_closed"])
def test_clients_hear_of_the_end_whatever_it_meets(served: Served, step: str) -> None:
    """A record that can't be removed, say: that is raised when all the rest is done."""
    failure = OSError(errno.EROFS, "read-only")

    def fail() -> None:
        raise failure

    served.core._events = served.core._events._replace(**{step: fail})  # type: ignore[arg-type]
    with served.client() as one:
        served.core.interrupt()
        assert one.read_to_end() == ENDED
        served.wait_ended()
    assert served.failure is failure
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port))
