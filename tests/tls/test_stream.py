"""Sockets that speak TLS: each byte once and in order, however little is taken at a time."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpy.serving.sessions.send_buffer import after
from bgpy.tls.contexts import for_client
from bgpy.tls.dialled import DialledTls
from bgpy.tls.layer import RECORD, NotTls, TlsLayer
from bgpy.tls.stream import CHUNK, MOST_UNSENT, TlsSocket, chunks, send_if_room
from tests.support.ends import LONG, client_of, encrypted, established, server_of
from tests.support.wine import SENDS_AND_ENDS

Pair = tuple[TlsSocket, TlsSocket]

LARGE = 2**18
"""Bytes of memory, as all small messages are received into: more than the ciphertext has."""

ROOMS = [RECORD, LARGE]
"""Bytes of memory: the least, and `LARGE`."""


def _over(sock: socket.socket, layer: TlsLayer) -> TlsSocket:
    return TlsSocket(sock, layer, memoryview(bytearray(2**17)))


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets that take little at a time."""
    pair = socket.socketpair()
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with pair[0], pair[1]:
        yield pair


@pytest.fixture
def pair(sockets: tuple[socket.socket, socket.socket]) -> Pair:
    """Both ends of a connection over which TLS is spoken; they block."""
    client, server = map(_over, sockets, established())
    return client, server


def _pieces(sizes: Sequence[int]) -> list[bytes | memoryview]:
    """Pieces of these sizes that go on where the one before ended, in both kinds of memory."""
    whole = bytes(number * 7 % 256 for number in range(256)) * (sum(sizes) // 256 + 1)
    made: list[bytes | memoryview] = []
    at = 0
    for size in sizes:
        piece = whole[at : at + size]
        made.append(memoryview(piece) if len(made) % 2 else piece)
        at += size
    return made


def _receive(end: TlsSocket, size: int, room: int = LARGE) -> bytes:
    """The next `size` bytes, or those until the stream ends, into memory of `room` bytes."""
    memory = memoryview(bytearray(room))
    received = bytearray()
    while len(received) < size:
        try:
            count = end.recv_into(memory)
        except BlockingIOError:
            continue
        if not count:
            break
        received += memory[:count]
    return bytes(received)


@given(
    st.lists(st.integers(0, 2 * CHUNK) | st.integers(0, 40), max_size=6), st.integers(0, 3 * CHUNK)
)
@example([CHUNK], 1)
@example([1, CHUNK], 1)
@example([0, 1, 0], 0)
def test_chunks_are_whole_and_in_order_when_pieces_have_any_size(
    sizes: list[int], skipped: int
) -> None:
    """All but the last are full, and what is skipped is skipped."""
    pieces = _pieces(sizes)
    made = chunks(pieces, skipped)
    assert b"".join(made) == b"".join(pieces)[skipped:]
    assert all(len(each) == CHUNK for each in made[:-1])
    assert all(0 < len(each) <= CHUNK for each in made)


class Stingy(socket.socket):
    """A socket that takes as many bytes at a time as it is told, and keeps them."""

    def __init__(self, takes: Sequence[int]) -> None:
        super().__init__()
        self.close()  # it needs no descriptor
        self._takes = cycle(takes)
        self.taken = bytearray()

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        takes = min(next(self._takes), len(data))
        if not takes:
            raise BlockingIOError
        self.taken += data[:takes]
        return takes

    def recv_into(self, *_: object) -> int:  # type: ignore[override]
        raise BlockingIOError

    def gettimeout(self) -> float:
        return 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 70_000) | st.integers(1, 20), min_size=1, max_size=6),
    st.lists(st.integers(0, 90_000) | st.integers(0, 3), min_size=1, max_size=6).filter(any),
    st.booleans(),
    st.sampled_from([_over, DialledTls]),
)
@example([1], [0, 1], False, _over)
@example([1, 1, 1], [0, 0, 22], True, _over)
@example([1, 1, 1], [0, 0, 22], True, DialledTls)
@example([CHUNK + 1], [CHUNK, 1, 0, 2**20], False, _over)
@example([16, 2 * CHUNK], [21, 0], False, _over)
def test_sendmsg_sends_each_byte_once_when_the_socket_takes_any_part(
    sizes: list[int],
    takes: list[int],
    one_by_one: bool,
    over: Callable[[socket.socket, TlsLayer], TlsSocket],
) -> None:
    """What is reported sent has been encrypted, and what was not is asked for again, first."""
    client, server = established()
    sock = Stingy([each * 100 if sum(takes) < 50 else each for each in takes])
    end = over(sock, client)
    pieces = _pieces(sizes)
    left = pieces
    while left:
        try:
            taken = end.send(left[0]) if one_by_one else end.sendmsg(left)
        except BlockingIOError:
            taken = 0
        left = after(left, taken)
    # Nobody comes again when all is sent: no ciphertext may wait then.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = threading.Thread(target=lambda: (ours.sendall(sock.taken), ours.close()))
        writer.start()
        assert _receive(_over(theirs, server), sum(sizes) + 1) == b"".join(pieces)
        writer.join()


@pytest.mark.parametrize(
    ("blocks", "room"), [(True, RECORD), pytest.param(False, LARGE, marks=SENDS_AND_ENDS)]
)
def test_both_directions_are_whole_when_buffers_are_tiny(
    pair: Pair, blocks: bool, room: int
) -> None:
    """At the same time, from two threads at each end."""
    pieces = _pieces([16, 300_000, 5, CHUNK, 100_000])
    size = sum(map(len, pieces))

    def send(end: TlsSocket) -> None:
        left = pieces
        while left:
            try:
                left = after(left, end.sendmsg(left))
            except BlockingIOError:
                pass

    for end in pair:
        end.setblocking(blocks)
    threads = [threading.Thread(target=send, args=(end,)) for end in pair]
    received: list[bytes] = []
    threads += [
        threading.Thread(target=lambda end=end: received.append(_receive(end, size, room)))  # type: ignore[misc]
        for end in pair
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert received == [b"".join(pieces)] * 2


def test_receiving_goes_on_while_another_thread_waits_to_send(pair: Pair) -> None:
    """The other side may take nothing before its own words are heard."""
    client, server = pair
    data, received = bytes(2**20), []

    def send() -> None:
        left: list[bytes | memoryview] = [data]
        while left:
            try:
                left = after(left, client.sendmsg(left))
            except BlockingIOError:
                pass

    sender = threading.Thread(target=send)
    reader = threading.Thread(target=lambda: received.append(_receive(client, 5)))
    sender.start()
    assert not any(_receive(server, 1))  # it is at it, and stuck from now on
    reader.start()
    server.send(b"hello")
    reader.join(LONG)
    stuck = reader.is_alive()
    rest = threading.Thread(target=_receive, args=(server, 2**30))
    rest.start()
    sender.join(LONG)
    client.shutdown(socket.SHUT_RDWR)
    rest.join(LONG)
    assert not stuck
    assert received == [b"hello"]


def test_send_if_room_never_waits_when_the_socket_blocks() -> None:
    """Where the system has no flag for that: who waited in `send` would hold the lock."""
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            assert send_if_room(ours, b"some") == 4
            ours.setblocking(False)
            with pytest.raises(BlockingIOError):  # noqa: PT012
                while True:
                    send_if_room(ours, bytes(2**16))
            ours.setblocking(True)
            with pytest.raises(BlockingIOError):
                send_if_room(ours, b"more")
        with pytest.raises(OSError, match=r"."):
            send_if_room(ours, b"closed")


class Talker:
    """An layer of a peer that makes this side say much, and sends no data."""

    ended = False
    partial = b""

    def __init__(self, words: int) -> None:
        self.words = ssl.MemoryBIO()
        self._answer = bytes(words)
        self.heard = 0
        self.established = False
        self.feed = self.read = self.write = None
        self.read_words = self.words.read

    def room(self, size: int) -> int:
        return size

    def decrypt(self, received: memoryview, memory: memoryview) -> int:
        self.heard += 1
        self.words.write(self._answer)
        return 0


@pytest.mark.skipif(sys.platform == "win32", reason="its sockets take megabytes that nobody reads")
def test_peer_that_wants_answers_and_reads_none_is_let_go(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """What TLS itself has to say doesn't pile up."""
    ours, theirs = sockets
    ours.setblocking(False)
    layer = Talker(1000)
    end = _over(ours, layer)  # type: ignore[arg-type]
    memory = memoryview(bytearray(RECORD))
    with pytest.raises(NotTls, match="reads no replies"):  # noqa: PT012
        for _ in range(10_000):
            theirs.send(b"x")
            with pytest.raises(BlockingIOError):
                end.recv_into(memory)
    assert len(end._unsent[0]) + layer.words.pending <= CHUNK + MOST_UNSENT + 1000


def test_peer_that_sends_no_data_leaves_others_their_turn(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """After a receive without data it says that there is none, though more is there."""
    ours, theirs = sockets
    ours.setblocking(False)
    layer = Talker(0)
    end = TlsSocket(ours, layer, memoryview(bytearray(50)))  # type: ignore[arg-type]
    theirs.send(bytes(100))
    with pytest.raises(BlockingIOError):
        end.recv_into(memoryview(bytearray(RECORD)))
    assert layer.heard == 1


@pytest.mark.parametrize("room", ROOMS)
def test_shutdown_tells_the_other_side(pair: Pair, room: int) -> None:
    """The end of the stream is said, not only seen."""
    client, server = pair
    client.send(b"last")
    memory = memoryview(bytearray(room))
    assert server.recv_into(memory) == 4
    client.shutdown(socket.SHUT_RDWR)
    assert server.recv_into(memory) == 0
    assert server._layer.ended


@pytest.mark.parametrize("room", ROOMS)
def test_recv_into_gives_data_of_one_record_or_of_several_that_came_at_once(
    pair: Pair, room: int
) -> None:
    """Small messages that were sent apart, an empty one among them."""
    client, server = pair
    memory = memoryview(bytearray(room))
    client.send(b"one")
    assert memory[: server.recv_into(memory)] == b"one"
    for each in (b"two", b"", b"three", bytes(500)):
        client.send(each)
    assert _receive(server, 508, room) == b"twothree" + bytes(500)


@pytest.mark.parametrize("room", ROOMS)
def test_recv_into_says_that_a_record_without_data_made_none(
    sockets: tuple[socket.socket, socket.socket], room: int
) -> None:
    """As TLS's own words are: what a server says of sessions that could be resumed."""
    context = server_of(ssl.TLSVersion.TLSv1_3)
    layers = TlsLayer(for_client(), False), TlsLayer(context, True)
    client, server = DialledTls(sockets[0], layers[0]), _over(sockets[1], layers[1])
    for sock in sockets:
        sock.setblocking(False)
    memory = memoryview(bytearray(room))
    while not layers[1].established:
        with suppress(BlockingIOError):
            client.shake_hands()
        with suppress(BlockingIOError):
            server.recv_into(memory)
    server.send(b"data")
    heard = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            client.recv_into(memory)
            heard += 1
    assert heard <= 1


@pytest.mark.parametrize("room", ROOMS)
def test_recv_into_sends_what_tls_replies_to_a_record_without_data(
    sockets: tuple[socket.socket, socket.socket], room: int
) -> None:
    """Whether data follows or not: a server that asks for a certificate waits for an answer."""
    contexts = client_of(ssl.TLSVersion.TLSv1_3), server_of(ssl.TLSVersion.TLSv1_3)
    contexts[1].verify_mode = ssl.CERT_OPTIONAL
    for context in contexts:
        context.post_handshake_auth = True
    layers = TlsLayer(contexts[0], False), TlsLayer(contexts[1], True)
    client, server = DialledTls(sockets[0], layers[0]), _over(sockets[1], layers[1])
    for sock in sockets:
        sock.setblocking(False)
    memory = memoryview(bytearray(room))
    while not layers[1].established:
        with suppress(BlockingIOError):
            client.shake_hands()
        with suppress(BlockingIOError):
            server.recv_into(memory)
    server.send(b"data")
    assert _receive(client, 4, room) == b"data"
    layers[1]._tls.verify_client_post_handshake()
    layers[1]._tls.do_handshake()
    sockets[1].sendall(layers[1].words.read())
    with pytest.raises(BlockingIOError):
        client.recv_into(memory)
    assert not layers[0].words.pending
    assert sockets[1].recv(2**16)


@pytest.mark.parametrize("room", ROOMS)
def test_changed_record_ends_the_connection_and_the_other_side_is_told(
    sockets: tuple[socket.socket, socket.socket], room: int
) -> None:
    """An alert tells it."""
    layers = established()
    client, server = map(_over, sockets, layers)
    record = bytearray(encrypted(layers[0], b"data"))
    record[-1] ^= 1
    sockets[0].sendall(record)
    memory = memoryview(bytearray(room))
    with pytest.raises(NotTls, match="broken"):
        server.recv_into(memory)
    with pytest.raises(NotTls, match="bad record mac"):
        client.recv_into(memory)


def test_shutdown_does_not_wait_when_the_other_side_takes_nothing(pair: Pair) -> None:
    """In the middle of something there is no room for a word."""
    client, _ = pair
    client.setblocking(False)
    left: list[bytes | memoryview] = [bytes(2**20)]
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            left = after(left, client.sendmsg(left))
    client.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError, match=r".+"):
        client.sendmsg(left)
