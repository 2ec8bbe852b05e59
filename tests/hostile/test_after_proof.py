"""What a server does with a client that holds the token and breaks the protocol."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Callable

import psutil
import pytest

from bgpy import Client, Handle, Limits
from bgpy.wire.messages import Failure, Goodbye, Pong, Reason, Receipt, Reply, Status
from tests.support.builds import FREE_THREADED, KEEPS_MEMORY
from tests.support.peers import (
    EXECUTE,
    EXECUTE_AND_WAIT,
    PATIENCE,
    RawClient,
    frame,
    reset,
    wait_until,
)
from tests.support.served import Served
from tests.support.tasks import attacked as tasks

PING = frame(10, 0, 99)
MIB = 2**20

TOO_LARGE = {
    "head of 2^32-1": frame(2, EXECUTE_AND_WAIT, 7, length=2**32 - 1),
    "head over the limit": frame(2, EXECUTE, 7, length=Limits().max_message + 1),
    "a buffer of 2^63": frame(2, EXECUTE, 7, count=1) + struct.pack("<Q", 2**63),
    "a buffer of 2^64-1": frame(2, EXECUTE, 7, count=1) + struct.pack("<Q", 2**64 - 1),
    "buffers over the limit together": frame(2, EXECUTE, 7, count=3)
    + struct.pack("<3Q", *[2**30] * 3),
    "head and buffer over the limit": frame(2, EXECUTE, 7, b"h", count=1)[:16]
    + struct.pack("<Q", 2**31),
    "65535 buffers": frame(2, EXECUTE, 7, count=65535),
    "a ping with a head over the limit": frame(10, 0, 7, length=2**32 - 1),
}

BROKEN = {
    "zeros": bytes(16),
    "ones": b"\xff" * 16,
    **{f"kind {kind}": frame(kind, 0, 7) for kind in (0, 7, 8, 13, 16, 17, 18, 19, 255)},
    **{f"kind {kind} of a server": frame(kind, 0x10, 7, b"x") for kind in (4, 5, 6, 11)},
    "flag of no request": frame(2, 0x12, 7, b"x"),
    "half the length of extensions": frame(2, 0x18, 7, b"x"),
    "no extensions where some are announced": frame(2, 0x18, 7, bytes(2)),
    "extensions longer than the message": frame(2, 0x18, 7, b"\xff\xff" + bytes(60)),
    "an extension twice": frame(2, 0x18, 7, b"\x0a\0" + b"\3\1\1\0k" * 2),
    "extensions of a ping": frame(10, 0x08, 7, b"\4\0\xc8\0\0\0"),
    "flag of another kind": frame(1, 0x11, 7, b"x"),
    "payload without a codec": frame(2, 0x01, 7, b"x"),
    "ping with a head": frame(10, 0, 7, b"x"),
    "ping with tags": frame(10, 0x10, 7),
    "ping with buffers": frame(10, 0, 7, count=1) + struct.pack("<QB", 1, 1),
    "cancel without a target": frame(9, 0, 7),
    "cancel with half a target": frame(9, 0, 7, b"1234"),
    "status that is no text": frame(12, 0, 7, b"\xff\xfe"),
    "status that is no JSON": frame(12, 0, 7, b"{"),
    "status that is no object": frame(12, 0, 7, b"[1]"),
    "status nested too deep": frame(12, 0, 7, b"[" * 60_000),
    "modules without a list": frame(15, 0, 7, b"{}"),
    "modules that are no names": frame(15, 0, 7, b'{"modules": [1]}'),
    "goodbye that is no text": frame(14, 0, 7, b"\xff"),
    "good frame, then a bad one": PING + frame(200, 0, 7),
}

BAD_PICKLES = {
    "empty": (b"", "EOFError"),
    "noise": (b"\x00\xffnoise", "load key"),
    "cut off": (pickle.dumps({"add": "x" * 100})[:-20], "truncated"),
    "missing module": (b"\x80\x05cno_such_module\nthing\n.", "no_such_module"),
    "missing attribute": (b"\x80\x05cos\nno_such_function\n.", "no_such_function"),
    "raises": (b"\x80\x05cbuiltins\nint\n(Vx\ntR.", "ValueError"),
    "asks for a buffer": (b"\x80\x05\x97.", "buffer"),
    "unknown protocol": (b"\x80\xff.", "protocol"),
    "huge promise": (b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b"x.", "args"),
    "no dict": (pickle.dumps([1, 2], 5), "dict"),
    "none": (pickle.dumps(None, 5), "dict"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_server_says_too_large_when_a_frame_is_over_its_limits(served: Served, name: str) -> None:
    """The peer is told before a byte is allocated, and the connection ends."""
    with served.raw() as client:
        client.send(TOO_LARGE[name])
        failure, goodbye = client.read_to_end()
    assert isinstance(failure, Failure)
    assert (failure.request, failure.reason) == (7, Reason.TOO_LARGE)
    assert failure.type_name == "bgpy.errors.MessageTooLarge"
    assert isinstance(goodbye, Goodbye)


@pytest.mark.parametrize("name", BROKEN)
def test_server_says_protocol_error_when_a_frame_is_no_message(served: Served, name: str) -> None:
    """Wrong kinds, flags and contents end the connection, with a failure that says so."""
    with served.raw() as client:
        client.send(BROKEN[name])
        messages = client.read_to_end()
    assert isinstance(messages[-2], Failure)
    assert messages[-2].reason == Reason.PROTOCOL
    assert messages[-2].text
    assert isinstance(messages[-1], Goodbye)


def test_server_serves_on_when_a_client_breaks_the_protocol_and_resets(served: Served) -> None:
    """A client that is gone before it can be told what it did wrong harms nobody."""
    for sent in (*BROKEN.values(), *TOO_LARGE.values()) * 3:
        client = served.raw()
        client.send(sent)
        reset(client.sock)


@pytest.mark.parametrize(
    "sent",
    [
        frame(2, EXECUTE, 7)[:5],
        frame(2, EXECUTE, 7, length=100),
        frame(2, EXECUTE, 7, b"x" * 50, length=100),
        frame(2, EXECUTE, 7, b"x" * 50, length=MIB),
        frame(2, EXECUTE, 7, count=2) + struct.pack("<2Q", 4 * MIB, 1) + bytes(MIB),
    ],
)
def test_server_says_protocol_error_when_a_frame_is_cut_off(served: Served, sent: bytes) -> None:
    """The end of the stream within a frame is told and logged; nothing of it runs."""
    with served.raw() as client:
        peer = client.sock.getsockname()
        client.send(sent)
        client.sock.shutdown(1)
        failure, _ = client.read_to_end()
    assert isinstance(failure, Failure)
    assert failure.reason == Reason.PROTOCOL
    assert "within a message" in served.log_of(peer)[-1]
    assert served.client.call({"add": 0}) == 0


@pytest.mark.parametrize("name", BAD_PICKLES)
def test_caller_gets_decode_error_when_its_pickle_does_not_load(served: Served, name: str) -> None:
    """The failure names what is wrong, and the connection stays usable."""
    head, said = BAD_PICKLES[name]
    with served.raw() as client:
        client.send(frame(2, EXECUTE_AND_WAIT, 1, head) + PING)
        answers = {answer.request: answer for answer in (client.receive(), client.receive())}
        assert isinstance(answers[99], Pong)
        failure = answers[1]
        assert isinstance(failure, Failure)
        assert failure.reason == Reason.DECODE
        assert said in failure.text
        client.send(frame(2, EXECUTE_AND_WAIT, 2, pickle.dumps({"add": 0})))
        assert isinstance(client.receive(), Reply)


@pytest.mark.parametrize(
    "head", [b"", b"noise", pickle.dumps(1), pickle.dumps(([], b"", [], False))]
)
def test_caller_gets_failure_when_its_tasks_do_not_load(
    start: Callable[..., tuple[Handle, Client]], head: bytes
) -> None:
    """An Init that holds no tasks fails, and one that holds some works after it."""
    handle, client = start(token=Served.token)
    with RawClient(handle.port, Served.token) as raw:
        raw.send(frame(1, EXECUTE, 1, head))
        assert isinstance(raw.receive(), Failure)
        raw.send(PING)
        assert isinstance(raw.receive(), Pong)
    client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
    assert client.call({"add": 2}) == 2


def test_unwaited_requests_that_do_not_load_are_only_logged(served: Served) -> None:
    """A request whose sender doesn't wait gets its receipt; what is wrong is in the log."""
    with served.raw() as client:
        client.send(frame(2, EXECUTE, 1, b"noise"))
        assert isinstance(client.receive(), Receipt)
    served.client.call({"add": 0})
    assert "exec_task failed, and the caller does not wait" in served.log()
    served.tracebacks = 1 + served.log().count("direct cause")


@pytest.mark.parametrize("codec", [0x20, 0xF0])
def test_request_is_refused_when_its_codec_is_not_allowed(served: Served, codec: int) -> None:
    """A codec that the server doesn't allow is refused before it is queued; all else goes on."""
    with served.raw() as client:
        client.send(frame(2, codec | 1, 1, b"x") + PING)
        failure = client.receive()
        assert isinstance(failure, Failure)
        assert failure.reason == Reason.CODEC
        assert isinstance(client.receive(), Pong)


def test_modules_are_answered_when_their_names_are_strange(served: Served) -> None:
    """Names that no module can have are answered or refused; the server serves on."""
    for name in (
        "",
        ".",
        "..",
        "a..b",
        "\\u0000",
        "/etc/passwd",
        "é" * 5000,
        "__main__",
        "tests.x",
    ):
        with served.raw() as client:
            client.send(frame(15, 0, 1, f'{{"modules": ["{name}"]}}'.encode()))
            assert client.receive()


def test_questions_are_answered_when_they_ask_for_nonsense(served: Served) -> None:
    """Requests that the server doesn't know are unknown, whatever is said for their id."""
    with served.raw() as client:
        for call in (b"0", b"-1", b"1e999", b'"x"', b"[1]", b"{}", b"18446744073709551616"):
            client.send(frame(12, 0, 1, b'{"call": ' + call + b"}"))
            assert client.receive() == Status(1, '{"call": "unknown"}')
        client.send(frame(9, 0, 2, b"\xff" * 8))
        assert client.receive() == Status(2, '{"call": "unknown"}')


def test_server_serves_on_when_frames_are_random(served: Served) -> None:
    """Noise behind a right handshake ends that connection and nothing else."""
    noise = random.Random(19990101)
    for _ in range(60):
        with served.raw() as client:
            kind = noise.choice((1, 2, 9, 10, 12, 15, noise.randrange(256)))
            client.send(bytes((kind,)) + noise.randbytes(noise.randrange(15, 200)))
            client.sock.shutdown(1)
            client.read_to_end()


def test_memory_does_not_grow_when_large_frames_are_announced(served: Served) -> None:
    """What a header announces costs nothing until it comes, and nothing after the end."""
    before = _memory(served.process)
    announced = frame(2, EXECUTE, 1, length=Limits().max_message) + b"x"
    clients = [served.raw() for _ in range(20)]
    for client in clients:
        client.send(announced)
    served.client.ping()
    # A page each, or a huge page where the system gives those.
    assert _memory(served.process) - before < 20 * 2 * MIB + 16 * MIB
    for client in clients:
        client.sock.close()
    for _ in range(200):
        with served.raw() as client:
            client.send(frame(2, EXECUTE, 1, length=2**32 - 1) + bytes(1000))
            client.read_to_end()
    wait_until(lambda: _memory(served.process) - before < 16 * MIB, "the memory is given back")


@pytest.mark.parametrize("size", [3 * MIB, 32 * MIB])
def test_others_are_served_when_clients_announce_much_and_send_nothing(
    serve: Callable[..., Served], size: int
) -> None:
    """What is announced keeps nobody from anything, whatever fits into the server's memory."""
    served = serve(max_memory=64 * MIB)
    clients = [served.raw() for _ in range(60)]
    for client in clients:
        client.send(frame(2, EXECUTE, 1, length=size) + bytes(200))
    with Client("127.0.0.1", served.port, served.token, timeout=20.0) as honest:
        for blob in (10**5, 10**6, 20 * MIB):
            honest.call({"add": 1, "blob": bytes(blob)})
    for client in clients:
        client.sock.close()
    served.check()


def test_others_are_served_when_a_client_never_reads(served: Served) -> None:
    """A client that asks for a large reply and never reads it keeps nobody waiting."""
    size = 64 * MIB
    with served.raw() as client:
        client.send(frame(2, EXECUTE_AND_WAIT, 1, pickle.dumps({"reply_size": size})))
        client.send(frame(10, 0, 2) * 10_000)
        for _ in range(20):
            served.check()
        client.sock.settimeout(PATIENCE)
        answers = [client.receive() for _ in range(10_001)]
        (reply,) = (answer for answer in answers if isinstance(answer, Reply))
        assert len(reply.head) > size
        assert answers.count(Pong(2)) == 10_000


@pytest.mark.skipif(FREE_THREADED, reason=KEEPS_MEMORY)
def test_memory_comes_back_when_a_client_that_never_read_is_gone(served: Served) -> None:
    """Replies that nobody took are dropped together with their connection."""
    served.client.call({"reply_size": 1})
    before = _memory(served.process)
    for _ in range(3):
        client = served.raw()
        client.send(frame(2, EXECUTE_AND_WAIT, 1, pickle.dumps({"reply_size": 64 * MIB})))
        client.sock.recv(1)
        reset(client.sock)
    served.check()
    wait_until(lambda: _memory(served.process) - before < 32 * MIB, "the replies are dropped")


def test_server_serves_on_when_a_client_withdraws_what_others_asked(served: Served) -> None:
    """Request ids belong to their client: nobody cancels the calls of another."""
    with served.raw() as one, RawClient(served.port, served.token) as other:
        one.send(frame(2, EXECUTE_AND_WAIT, 5, pickle.dumps({"add": 0})))
        other.send(frame(9, 0, 1, struct.pack("<Q", 5)))
        assert other.receive() == Status(1, '{"call": "unknown"}')
        assert isinstance(one.receive(), Reply)


def _memory(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def test_exit_without_a_payload_ends_the_server(serve: Callable[..., Served]) -> None:
    """A client that knows no pickle can end any server."""
    served = serve()
    with served.raw() as client:
        client.send(frame(3, 0, 1, b""))
        assert client.receive() == Receipt(1, 0)
    assert served.handle.wait(20.0)
