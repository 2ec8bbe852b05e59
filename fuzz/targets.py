"""What is fuzzed: each target takes bytes and raises only what is a defect.

The first byte of an input says in which pieces the rest arrives.
"""

from __future__ import annotations

import json
import logging
import pickle
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

from bgpy.codec import failures, payload
from bgpy.codec.modules import Catalogue
from bgpy.errors import (
    BgpyError,
    MessageTooLarge,
    PythonMismatch,
    RemoteError,
    RemoteProtocolError,
)
from bgpy.state import records
from bgpy.state.folders import Folder
from bgpy.tls.layer import RECORD, NotTls, TlsLayer
from bgpy.wire.connection import Connection, ConnectionState
from bgpy.wire.extensions import check_block, decode_extensions, encode_extensions
from bgpy.wire.frames import FrameReader
from bgpy.wire.handshake import HELLO_SIZE, SERVER_HELLO_SIZE, _proof
from bgpy.wire.messages import Failure, Message, Modules, Status
from bgpy.wire.table import NUMBERS, TABLE, encode
from fuzz import stage

Target = Callable[[bytes], None]

SHORTEST = HELLO_SIZE
"""Bytes without which no server says anything but a refusal."""


def pieces(data: bytes) -> list[bytes]:
    """The input in the pieces that its first byte asks for: 0 is all at once."""
    if not data:
        return []
    size, rest = data[0], data[1:]
    if size == 0:
        return [rest]
    return [rest[at : at + size] for at in range(0, len(rest), size)]


def server_handshake(data: bytes) -> None:
    """A stranger's hello and proof: never done without the token, and nothing is kept."""
    handshake = stage.server_handshake()
    try:
        for piece in pieces(data):
            handshake.receive(piece)
    except BgpyError:
        pass
    assert not handshake.done or _is_the_proof(data), "a stranger was let in"
    assert len(handshake._received) <= SHORTEST


def _is_the_proof(data: bytes) -> bool:
    client = stage.client_handshake()
    honest = client.hello() + client.receive(stage.server_handshake().receive(client.hello()))
    return data[1:].startswith(honest)


def client_handshake(data: bytes) -> None:
    """A stranger's server hello, and behind a right proof any welcome."""
    for repaired in (False, True):
        handshake = stage.client_handshake()
        given = pieces(_with_right_proof(data) if repaired else data)
        try:
            for piece in given:
                handshake.receive(piece)
        except BgpyError:
            pass
        assert len(handshake._received) <= SERVER_HELLO_SIZE


def _with_right_proof(data: bytes) -> bytes:
    hello = stage.client_handshake().hello()
    body, rest = data[1 : SERVER_HELLO_SIZE - 31], data[SERVER_HELLO_SIZE + 1 :]
    return data[:1] + body + _proof(stage.KEY, b"server", hello + body) + rest


def tls_server(data: bytes) -> None:
    """Whatever a client says to a port that speaks TLS: it ends there, and little is kept."""
    engine = stage.tls_engine(True)
    _tls(engine, pieces(data))
    assert not engine.established, "a handshake was ended by what cannot end it"


def tls_client(data: bytes) -> None:
    """Whatever a server answers to a client's first words of TLS."""
    engine = stage.tls_engine(False)
    engine.begin()
    _tls(engine, pieces(data))


def _tls(engine: TlsLayer, given: list[bytes]) -> None:
    memory = memoryview(bytearray(RECORD))
    try:
        for piece in given:
            left = memoryview(piece)
            while left:
                received = left[: engine.room(RECORD)]
                left = left[len(received) :]
                assert engine.decrypt(received, memory) <= RECORD
    except NotTls:
        pass
    assert len(engine.partial) <= RECORD + 512
    assert engine.words.pending <= 2**14


def server_frames(data: bytes) -> None:
    """Any bytes of a client that has proved the token."""
    _frames(stage.connected()[1], data)


def client_frames(data: bytes) -> None:
    """Any bytes of the server; a failure among them becomes an exception."""
    for message in _frames(stage.connected()[0], data):
        if isinstance(message, Failure):
            _, _, name, text, traceback, *_ = message
            assert isinstance(failures.rebuild(name, text, traceback, b"", (), False), RemoteError)


def _frames(connection: Connection, data: bytes) -> list[Message]:
    """What arrives; said again in the same words, unless it was text that says it otherwise."""
    messages: list[Message] = []
    try:
        for piece in pieces(data):
            _receive(connection, piece, messages)
        connection.eof()
    except BgpyError:
        assert connection.state is ConnectionState.FAILED
    for message in messages:
        again = b"".join(encode(message))
        assert again[0] in NUMBERS.values()
        assert len(again) >= 16
    return messages


def messages(data: bytes) -> None:
    """Any bytes of either side, of the messages that nobody takes yet, too."""
    decoders = {row.number: row.decode for row in TABLE}
    reader = FrameReader(stage.LIMITS, stage.allocate, decoders)
    try:
        found = [message for piece in pieces(data) for message in reader.feed(piece)]
    except (RemoteProtocolError, MessageTooLarge):
        return
    for message in found:
        kind, _, _, _, request = struct.unpack_from("<BBHIQ", b"".join(encode(message)))
        assert (kind, request) == (NUMBERS[type(message)], message.request)


def extensions(data: bytes) -> None:
    """Any bytes as a block: refused, or values that make a block again."""
    block = data[1:]
    try:
        check_block(block)
        values = decode_extensions(block, range(256))
    except RemoteProtocolError:
        return
    assert decode_extensions(encode_extensions(values)) == values


def _receive(connection: Connection, piece: bytes, messages: list[Message]) -> None:
    """Receive into the place for a large part where there is one, as sessions do."""
    left = memoryview(piece)
    while left:
        reader = connection.reader
        target = None if reader is None else reader.target
        if reader is None or target is None:
            messages += connection.receive(left)
            return
        size = min(len(target), len(left))
        target[:size] = left[:size]
        messages += reader.filled(size)
        left = left[size:]


@cache
def _stage() -> stage.Stage:
    return stage.Stage()


class Unexpected(BaseException):
    """What a session did not expect."""


def session(data: bytes) -> None:
    """A whole session with the server's handlers, from the first byte on."""
    with _watched():
        made, pipe = _stage().session()
        stage.hear(made, pipe, pieces(data))
        _stage().forget()
    assert pipe.closed or pipe.ended  # what it has asked for may still have to run
    assert len(pipe.outgoing) <= 2**20


@contextmanager
def _watched() -> Iterator[None]:
    """Raise `Unexpected` where something is unpickled, and where a session logs a traceback."""
    loads, log = pickle.loads, logging.getLogger("bgpy.server")

    def refuse(*args: Any, **options: Any) -> NoReturn:
        raise Unexpected("something was unpickled")

    pickle.loads = refuse
    log.addFilter(_raise_unexpected)
    try:
        yield
    finally:
        pickle.loads = loads
        log.removeFilter(_raise_unexpected)


def _raise_unexpected(record: logging.LogRecord) -> bool:
    """A session logs what it didn't expect, and closes: here that is a defect."""
    if record.exc_info is not None and record.exc_info[1] is not None:
        raise Unexpected(record.getMessage()) from record.exc_info[1]
    return False


def questions(data: bytes) -> None:
    """The JSON of a question: answered, or the protocol is broken; never anything else."""
    text = data[1:].decode("utf-8", "replace")
    with _watched():
        for message in (Status(1, text), Modules(1, text)):
            made, pipe = _stage().session()
            client = _connect(made, pipe)
            pipe.outgoing.clear()
            try:
                sent = b"".join(client.send(message))
            except BgpyError:
                continue
            stage.hear(made, pipe, [sent], ends=False)
            answers = client.receive(bytes(pipe.outgoing))
            assert answers, "no answer"
            made.close()


def _connect(made: Any, pipe: stage.Pipe) -> Connection:
    client = Connection.client_side(stage.client_handshake(), stage.allocate)
    while not client.established:
        stage.hear(made, pipe, [client.take_outgoing()], ends=False)
        outgoing, pipe.outgoing = bytes(pipe.outgoing), bytearray()
        client.receive(outgoing)
    return client


@cache
def _catalogue() -> Catalogue:
    return Catalogue()


def modules(data: bytes) -> None:
    """Names of modules, whatever they are: a hash or None, and nothing is imported."""
    names = data[1:].decode("utf-8", "surrogateescape").split(",")
    before = set(sys.modules)
    hashes = _catalogue().hashes(names)
    assert set(hashes) == set(names)
    assert set(sys.modules) == before


def python_version(data: bytes) -> None:
    """The head of a payload with bytecode of another Python: refused before it is loaded."""
    head = data[1:]
    if head[:2] == bytes(sys.version_info[:2]):
        return  # what follows is for pickle, which is for those who hold the token
    try:
        payload.decode(head, (), True, "args")
    except PythonMismatch:
        return
    raise AssertionError("bytecode of another Python was loaded")


@cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bgpy-fuzz-")  # removed when the process ends


def record(data: bytes) -> None:
    """The text of a record: a record whose fields are what they must be, or None."""
    place = Folder(_kept().name)
    with open(place.record, "wb") as file:
        file.write(data[1:])
    found = records.load(place)
    if found is not None:
        assert isinstance(found.is_gone(), bool)
        assert json.loads(data[1:])["pid"] == found.pid


TARGETS: dict[str, Target] = {
    each.__name__: each
    for each in (
        server_handshake,
        client_handshake,
        tls_server,
        tls_client,
        server_frames,
        client_frames,
        messages,
        extensions,
        session,
        questions,
        modules,
        python_version,
        record,
    )
}
