"""What honest sides say: the inputs that mutations begin with."""

from __future__ import annotations

import json
import pickle
import sys

from bgpy.system import processes
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.messages import (
    Acknowledge,
    Cancel,
    Credit,
    Event,
    Execute,
    Exit,
    Failure,
    Goodbye,
    Init,
    Item,
    Message,
    Modules,
    Ping,
    Pong,
    Progress,
    Reason,
    Receipt,
    Reply,
    Status,
    Subscribe,
)
from bgpy.wire.table import TABLE, encode
from fuzz import stage

_HEAD = pickle.dumps({"add": 1}, 5)

_BLOCK = encode_extensions({Extension.CHAIN: bytes(24), 200: b"later"}, {Extension.CHAIN})

FROM_CLIENT: list[Message] = [
    Ping(1),
    Execute(2, _HEAD, wait=True),
    Execute(3, _HEAD, [memoryview(b"beside it"), memoryview(b"")]),
    Execute(4, bytes(sys.version_info[:2]) + _HEAD, code=True),
    Init(5, _HEAD),
    Status(6, "{}"),
    Status(7, '{"call": 2}'),
    Cancel(8, 3),
    Modules(9, '{"modules": ["json", "a.b.c", ""]}'),
    Exit(10, b"", codec=0),
    Execute(12, _HEAD, wait=True, extensions=_BLOCK),
    Exit(13, b"", codec=0, extensions=_BLOCK),
    Item(14, _HEAD, last=True),
    Credit(14, 0, 16),
    Subscribe(15, '{"topics": ["a"]}'),
    Acknowledge(7, (9, 11)),
    Exit(11, _HEAD, wait=True),
    Goodbye("farewell"),
]
FROM_SERVER: list[Message] = [
    Pong(1),
    Reply(2, _HEAD),
    Reply(3, _HEAD, [memoryview(b"beside it")], error=True),
    Receipt(4, 1),
    Failure(5, Reason.TASK, "builtins.KeyError", "'a'", "Traceback", _HEAD, codec=1),
    Failure(0, Reason.PROTOCOL, text="é"),
    Status(6, '{"call": "queued"}'),
    Modules(9, '{"modules": {"json": null}}'),
    Item(2, _HEAD, place=1),
    Event(15, _HEAD, topic="a", sequence=5),
    Progress(2, 3, 4, "of four"),
    Goodbye("the server ended"),
]

_RECORD = {
    "host": "127.0.0.1",
    "port": 1,
    "pid": 4711,
    "start_time": "1",
    "boot_id": processes.boot_id().hex(),
    "python": "3.11.7",
    "version": "1",
    "incarnation": "00" * 16,
    "log_file": None,
    "init_file": None,
}


def _wire(messages: list[Message]) -> list[bytes]:
    each = [b"".join(encode(message)) for message in messages]
    spoken = {row.message for row in TABLE if row.spoken}
    pairs = zip(messages, each, strict=True)
    return [*each, b"".join(data for message, data in pairs if type(message) in spoken)]


def _handshake() -> tuple[bytes, bytes]:
    """All that the client and the server say in theirs."""
    client, server = stage.client_handshake(), stage.server_handshake()
    sent, received = client.hello(), b""
    while not client.done:
        answer = server.receive(sent[-60:] if not received else sent[60:])
        received += answer
        sent += client.receive(answer)
    return sent, received


def _tls() -> tuple[bytes, bytes]:
    """What a client and a server say first over TLS, by an engine of each."""
    client, server = stage.tls_engine(False), stage.tls_engine(True)
    client.begin()
    hello = client.words.read()
    server.decrypt(memoryview(hello), memoryview(bytearray(2**14)))
    return hello, server.words.read()


def _corpora() -> dict[str, list[bytes]]:
    up, down = _handshake()
    tls_up, tls_down = _tls()
    to_server, to_client = _wire(FROM_CLIENT), _wire(FROM_SERVER)
    questions = [b"{}", b'{"call": 1}', b'{"call": [1.5, null, "x"]}', b'{"modules": ["json"]}']
    return {
        "server_handshake": [up, up[:60], up + to_server[0]],
        "client_handshake": [down, down[:108], down + to_client[0]],
        "tls_server": [tls_up, tls_up[:100], b"GET / HTTP/1.1\r\n\r\n", up],
        "tls_client": [tls_down, tls_down[:200], b"HTTP/1.1 400 Bad Request\r\n\r\n", down],
        "server_frames": to_server,
        "client_frames": to_client,
        "session": [up, *(up + frames for frames in to_server)],
        "questions": [*questions, b'{"modules": ["a.b", "__main__", "\\ud800", ".", "x\\u0000"]}'],
        "messages": [*to_server[:-1], *to_client[:-1]],
        "extensions": [_BLOCK, encode_extensions({3: b"k", 4: b"\1\0\0\0", 6: bytes(30)}, {3})],
        "modules": [b"json", b"a.b,c", b"__main__,bgpy.wire", b"", b".", b"..", b"x\x00", b"/etc"],
        "python_version": [bytes(sys.version_info[:2]) + _HEAD, b"\x03\x09" + _HEAD, b"\x03", b""],
        "record": [json.dumps(_RECORD).encode(), json.dumps({**_RECORD, "pid": "1"}).encode()],
    }


CORPORA = {
    # The first byte says in which pieces the rest arrives.
    name: [bytes((way,)) + seed for seed in seeds for way in (0, 1, 7)]
    for name, seeds in _corpora().items()
}
