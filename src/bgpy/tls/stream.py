"""Sockets that speak TLS, with the methods of a socket that sessions and channels use.

One thread may receive while another sends. One lock guards the layer and the order in which
its ciphertext is sent, since only one thread at a time may use OpenSSL's objects.

**What an exception there does** that a signal's handler raises. Ciphertext must leave once and
in order, so it is somewhere at each moment::

    data ─► encrypted ─► `_unsent` ─► the socket
              one step     one step, which leaves in `_unsent` what wasn't taken

Each is the head of a loop, which calls only what is written in C, and stores behind it:
nothing strikes between what was done and noting it. What TLS itself has to say stays in its
`words` while anything is unsent, and leaves next: so there are none when data is encrypted.

What was encrypted and not told to the caller is *owed*: struck, the caller comes back with the
same bytes, first, as it does with bytes that were not taken. Telling it is the last that `send`
does, with nothing called in between and after: then it is told, or comes back. A thread that is
struck while it receives has lost what came, and ends the connection.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from functools import partial

from bgpy.memory import Piece
from bgpy.system.sockets import WRITABLE, poll
from bgpy.system.strikes import is_strike
from bgpy.tls.layer import (
    HEADER,
    LONGEST,
    RECORD,
    NotTls,
    TlsLayer,
    unpack_length,
)

CHUNK = 4 * RECORD
"""Bytes that are encrypted and sent at once; with their ciphertext they stay in the cache."""

MOST_UNSENT = 2**16
"""Bytes of TLS's own words that may wait for a peer that makes us answer and reads nothing."""

CIPHERTEXT = 2**17
"""Bytes of ciphertext received at once: of the buffer that a `TlsSocket` is given."""

WAIT = 0.5
"""Seconds that a socket which blocks waits to send, before it says that it could not."""

AT_ONCE: int = getattr(socket, "MSG_DONTWAIT", 0)
"""The flag of sending without waiting: who waited would hold the lock, and nothing be received."""
_MAY_WAIT = not AT_ONCE
"""Whether sending waits all the same: Windows has no such flag."""
# For `map` in the heads of loops: the flags of one send, and how much one read of the words takes.
_FLAGS, _ALL = (AT_ONCE,), (-1,)


class OverSocket:
    """What is handed on to the socket below."""

    _sock: socket.socket

    def close(self) -> None:
        """Give the descriptor back."""
        self._sock.close()

    def fileno(self) -> int:
        """The socket's descriptor, for polling: what can be read here can be read there."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """As the socket's."""
        self._sock.setblocking(flag)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """As the socket's."""
        return self._sock.getsockopt(level, option, size)


class TlsSocket(OverSocket):
    """A connected socket that speaks TLS.

    It blocks, or not, as the socket does, and raises what that raises; besides it `NotTls`.
    """

    def __init__(self, sock: socket.socket, layer: TlsLayer, buffer: memoryview) -> None:
        """`buffer` holds ciphertext while it is received: at least 16 KiB, and nobody else uses
        it meanwhile."""
        self._sock = sock
        self._layer = layer
        self._buffer = buffer
        self._enough = len(buffer) + LONGEST
        """Memory that takes all that can be received at once."""
        self._needed = sys.maxsize
        """Likewise, while the next byte begins a record of data: else no memory is enough."""
        self._front, self._count = buffer, len(buffer)
        """The front of the buffer that held the last record which came alone, and its bytes: the
        next one is often as long."""
        # Guards the layer and `_unsent`; `_owed` is the sender's. Taken by the one that receives
        # and by the one that sends, for no longer than a system call.
        # Reentrant: a handler may send that has interrupted a thread which receives.
        self._lock: threading.RLock | threading.Lock = threading.RLock()
        self._unsent = [b""]
        """Ciphertext that the socket has not taken, in one piece; TLS's words are behind it."""
        self._owed = 0
        """Bytes that were encrypted, and that the sender offers next nevertheless."""
        self.told = 0
        """What the last `send` or `sendmsg` has returned: that ends with setting it."""
        # Looked up once: a small call goes through all of them.
        self._recv_from_socket = sock.recv_into
        self._send_to_socket = partial(send_if_room, sock) if _MAY_WAIT else sock.send
        self._feed, self._read, self._write = layer.feed, layer.read, layer.write
        self._words, self._read_words = layer.words, layer.read_words

    def recv_into(self, memory: memoryview) -> int:
        """Receive plaintext into `memory` (at least 16 KiB); 0 at the end of the stream.

        Raises `BlockingIOError` if what came made none: the one that waits looks at the time
        then, and who serves many gives others their turn.
        """
        size = len(memory)
        if size < self._needed:
            filled = self._receive(memory)
        else:
            buffer, receive = self._buffer, self._recv_from_socket
            count = receive(buffer)
            (length,) = unpack_length(buffer)
            if length == count - HEADER:
                # One record, as a small call comes: nothing of it is kept or cut.
                if count != self._count:
                    self._front, self._count = buffer[:count], count
                feed, read = self._feed, self._read
                with self._lock:
                    try:
                        feed(self._front)
                        filled = read(size, memory)
                        if not filled:
                            self._layer.ended = True
                    except ssl.SSLError as error:
                        self._without_data(error)
                        filled = None
            else:
                filled = self._decrypt(count, memory)
        if filled is None:
            raise BlockingIOError
        return filled

    def send(self, data: Piece) -> int:
        """Send as much of `data` as the socket takes; see `sendmsg`."""
        size = len(data)
        if self._owed or size > CHUNK:
            return self.sendmsg((data,))
        with self._lock:
            if not self._unsent[0]:
                self._send_chunk(data, size)
        if not self._owed:
            return self.sendmsg((data,))  # there was no room for it
        # Nothing is called from here on, so nothing strikes: the module's docstring says why.
        if self._unsent[0]:
            self._owed = 1
            size -= 1
        else:
            self._owed = 0
        self.told = size
        return size

    def sendmsg(self, pieces: Sequence[Piece]) -> int:
        """Send as much of `pieces` as the socket takes; how many bytes that were.

        What was encrypted must leave. So while its ciphertext waits, all of it but the last
        byte counts as sent: the caller comes back with at least that byte, first.
        """
        self._accept(pieces)
        taken = self._owed
        if taken and self._unsent[0]:
            taken -= 1
        self._owed -= taken
        self.told = taken
        return taken

    def shutdown(self, how: int) -> None:
        """End the connection, and say so before if that can be done at once."""
        # The head of a loop is one step for a signal handler, which raises before or after it.
        for held in map(self._lock.acquire, (False,)):
            try:
                if held and self._layer.established and not self._unsent[0]:
                    self._layer.end()
                    self._send_to_socket(self._read_words(), AT_ONCE)
            except OSError as error:
                if is_strike(error):
                    raise
                # The other side was first.
            finally:
                if held:
                    self._lock.release()
        self._sock.shutdown(how)

    def settimeout(self, seconds: float | None) -> None:
        """As the socket's."""
        self._sock.settimeout(seconds)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """As the socket's."""
        self._sock.setsockopt(level, option, value)

    def _accept(self, pieces: Sequence[Piece]) -> None:
        """Encrypt and send of `pieces`: all that was is owed, until the caller has been told."""
        try:
            return self._send_pieces(pieces)
        except BlockingIOError as error:
            if is_strike(error) or self._sock.gettimeout() == 0:
                raise
        poll(self._sock, WAIT, WRITABLE)
        self._send_pieces(pieces)

    def _send_pieces(self, pieces: Sequence[Piece]) -> None:
        with self._lock:
            self._flush()  # raises if nothing can be sent
            for chunk in chunks(pieces, self._owed):
                if self._unsent[0]:
                    return
                # Last: tests/test_covered.py says why.
                self._send_chunk(chunk, self._owed + len(chunk))

    def _send_chunk(self, chunk: Piece, owed: int) -> None:
        """Encrypt and send `chunk`, with which `owed` bytes are owed.

        While nothing is unsent, and TLS itself has nothing to say.
        """
        unsent, write = self._unsent, self._write
        try:
            write(chunk)
            for made in map(self._read_words, _ALL):
                unsent[0], self._owed = made, owed
                break
            for taken in map(self._send_to_socket, unsent, _FLAGS):
                unsent[0] = made[taken:]
                break
        except BaseException as error:
            if self._words.pending:
                self._owed = owed  # nothing is called before this is noted
            self._refused(error)

    def _refused(self, error: BaseException) -> None:
        """Raise what sending has raised, unless that is only that the socket has no room now.

        What is sent before it, and that it must follow, has to be told then.
        """
        if isinstance(error, ssl.SSLError):
            self._layer.refuse(error)
        if is_strike(error) or not isinstance(error, (BlockingIOError, TimeoutError)):
            raise error

    def _flush(self) -> None:
        """Have the socket take what is unsent, and TLS's words behind that.

        Raises what the socket raises if it takes nothing.
        """
        unsent = self._unsent
        while unsent[0] or self._words.pending:
            if not unsent[0]:
                for words in map(self._read_words, _ALL):
                    unsent[0] += words  # a handler that came in between may have sent, too
                    break
            for taken in map(self._send_to_socket, unsent, _FLAGS):
                unsent[0] = unsent[0][taken:]
                break
            if unsent[0]:
                return

    def _receive(self, memory: memoryview) -> int | None:
        """Receive once; None if that made no plaintext."""
        room = min(self._layer.room(len(memory)), len(self._buffer))
        return self._decrypt(self._recv_from_socket(self._buffer, room), memory)

    def _decrypt(self, count: int, memory: memoryview) -> int | None:
        """Decrypt the `count` bytes that were received; likewise."""
        layer = self._layer
        if not count:
            return 0
        with self._lock:
            try:
                filled = layer.decrypt(self._buffer[:count], memory)
            except NotTls:
                self._tell()
                raise
            if layer.words.pending:
                self._tell()
        begins = layer.established and not layer.partial
        self._needed = self._enough if begins else sys.maxsize
        return filled if filled or layer.ended else None

    def _without_data(self, error: ssl.SSLError) -> None:
        """With the lock held: a record gave no data; say what TLS itself has to say to it."""
        try:
            self._layer.refuse(error)
        except NotTls:
            self._tell()
            raise
        self._tell()

    def _tell(self) -> None:
        """Send what TLS itself has to say, behind what waits already."""
        try:
            self._flush()
        except OSError as error:
            if is_strike(error):
                raise
            # It leaves before what is sent next, or that tells that nothing can leave.
        if len(self._unsent[0]) + self._words.pending > CHUNK + MOST_UNSENT:
            raise NotTls("the other side makes TLS reply but reads no replies")


def send_if_room(sock: socket.socket, data: Piece, flags: int = 0) -> int:
    """Send as `socket.send` does if there is room for any of it, also over one that blocks.

    Raises `BlockingIOError` if there is none. Windows takes what it is given whole then.
    """
    try:
        has_room = sock.gettimeout() == 0 or bool(select.select([], [sock], [], 0)[1])
    except ValueError as error:
        if is_strike(error):
            raise
        has_room = True  # closed by another thread: sending tells
    if not has_room:
        raise BlockingIOError
    return sock.send(data, flags)


def chunks(pieces: Sequence[Piece], skipped: int) -> list[Piece]:
    """What is encrypted at once, in order, without the first `skipped` bytes.

    Small pieces are joined: each would cost a record of its own.
    """
    made: list[Piece] = []
    small: list[Piece] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece)[skipped:]
        skipped = max(0, skipped - len(piece))
        while view:
            part = view[: CHUNK - size]
            view = view[len(part) :]
            small.append(part)
            size += len(part)
            if size == CHUNK:
                made.append(part if len(small) == 1 else b"".join(small))
                small, size = [], 0
    if small:
        made.append(small[0] if len(small) == 1 else b"".join(small))
    return made
