"""TLS of one connection without a socket: ciphertext in and out, plaintext in and out.

::

    received ─► records ─► incoming ─► OpenSSL ─► memory        (decrypt)
    data ─────────────────► OpenSSL ─► words                    (write)

OpenSSL is handed whole records only, and no more of them than their plaintext fits into
the caller's memory. So it never holds plaintext back, and the one that polls the socket
knows all there is to know. For one thread at a time.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from struct import Struct
from typing import Any

from bgpy.forks import briefly
from bgpy.memory import Piece
from bgpy.system.strikes import is_strike
from bgpy.tls.contexts import fingerprint, reason

RECORD = 2**14
"""Bytes: the longest plaintext of a record (RFC 8446, 5.1)."""

HEADER = 5
"""Bytes of a record's header."""

LONGEST = RECORD + 256
"""Bytes: the longest ciphertext of a record (RFC 8446, 5.2)."""

unpack_length = Struct(">3xH").unpack_from
"""The bytes that follow a record's header."""

_TYPES = range(20, 24)

FIRST_BYTE = 22
"""The first byte that a client sends over TLS: the type of a handshake's record."""


class NotTls(ConnectionAbortedError):
    """The other side doesn't speak TLS 1.3, or violated it; the connection can't be used."""


class TlsLayer:
    """One side of one connection."""

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self.words = ssl.MemoryBIO()
        """What must be sent: handshakes, alerts, ends, and the ciphertext of data."""
        self._server_side = server_side
        self._tls = context.wrap_bio(self._incoming, self.words, server_side)
        # What that calls itself, without a function of Python's before it.
        openssl: Any = self._tls._sslobj  # type: ignore[attr-defined]
        # Looked up once: a small call goes through all of them.
        self.feed = self._incoming.write
        """Take whole records, for `read`."""
        self.read: Callable[[int, memoryview], int] = openssl.read
        """Put the plaintext of one record of data into so much memory; how much that was, 0 at the
        other side's end. Raises `ssl.SSLError`: `refuse` says what that means."""
        self.write: Callable[[Piece], int] = openssl.write
        """Put the ciphertext of data into `words`, behind what is there: all of it, or nothing.
        Likewise."""
        self.read_words = self.words.read
        self.partial = bytearray()
        """Ciphertext of a record that isn't whole yet."""
        self.established = False
        """Whether both sides have agreed on keys, so that data can be sent."""
        self.ended = False
        """Whether the other side has said that it sends no more."""

    def begin(self) -> None:
        """Open the conversation, as the client does, with the first `words`."""
        self._shake_hands()

    def room(self, size: int) -> int:
        """How much ciphertext may be received for `size` (>= `RECORD`) bytes of memory."""
        return max(size - len(self.partial), self._missing())

    def decrypt(self, received: memoryview, memory: memoryview) -> int:
        """Take ciphertext, `room` at most; give how much plaintext was put into `memory`.

        Raises `NotTls` at the first byte that can't be right; `words` then tell the other
        side why.
        """
        self._feed_records(received)
        if not self._incoming.pending or not (self.established or self._shake_hands()):
            return 0
        return self._read(memory)

    def refuse(self, error: ssl.SSLError) -> None:
        """Raise `NotTls` unless `error` only says that there was no data; a strike passes."""
        if is_strike(error):
            raise error
        if not isinstance(error, ssl.SSLWantReadError):
            raise NotTls(f"TLS is broken: {reason(error)}") from error

    def end(self) -> None:
        """Put it into `words` that this side sends no more."""
        try:
            self._tls.unwrap()
        except ssl.SSLError as error:
            if is_strike(error):
                raise
            # The other side has not said so, and need not.

    def peer_fingerprint(self) -> bytes:
        """The SHA-256 of the server's certificate, once `established`."""
        certificate = self._tls.getpeercert(True)
        assert certificate is not None, "a server always shows one"
        return fingerprint(certificate)

    def _shake_hands(self) -> bool:
        try:
            briefly(self._tls.do_handshake)  # OpenSSL takes locks of its own here, and only here
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            if is_strike(error):
                raise
            raise NotTls(f"the TLS handshake failed: {reason(error)}") from error
        self.established = True
        return True

    def _read(self, memory: memoryview) -> int:
        filled, size = 0, len(memory)
        try:
            while filled < size and self._incoming.pending:
                count = self.read(size - filled, memory[filled:])
                if not count:
                    self.ended = True
                    break
                filled += count
        except ssl.SSLError as error:
            self.refuse(error)  # what was left of those records held no data
        return filled

    def _feed_whole(self, records: memoryview | bytearray) -> None:
        if self._server_side and not self.established:
            _check_hellos(records)
        self.feed(records)

    def _feed_records(self, received: memoryview) -> None:
        """Hand the whole records on, and keep what is left."""
        while received:
            if self.partial:
                taken = received[: self._missing()]
                received = received[len(taken) :]
                self.partial += taken
                if not self._missing():
                    self._feed_whole(self.partial)
                    self.partial.clear()
            else:
                whole = _whole_records(received)
                self._feed_whole(received[:whole])
                self.partial += received[whole:]
                return

    def _missing(self) -> int:
        """Bytes that `partial` needs to be a whole record, or a whole header first."""
        held = len(self.partial)
        return HEADER - held if held < HEADER else _record(self.partial, 0) - held


def _whole_records(data: memoryview) -> int:
    """Bytes of the records at the start of `data` that are whole; `NotTls` if they are none."""
    size, end = len(data), 0
    while size - end >= HEADER:
        following = end + _record(data, end)
        if following > size:
            break
        end = following
    else:
        if size > end:
            _check_start(data[end : end + 2])
    return end


def _record(data: memoryview | bytearray, at: int) -> int:
    """Bytes of the record whose header stands there."""
    _check_start(data[at : at + 2])
    length = data[at + 3] << 8 | data[at + 4]
    if length > LONGEST:
        raise NotTls(f"the other side sent a TLS record of {length} bytes")
    return HEADER + length


def _check_hellos(records: memoryview | bytearray) -> None:
    """Raise `NotTls` if a client's hello is longer than the record it begins in.

    OpenSSL would take 128 KiB at once for a stranger that but announces so much.
    """
    at = 0
    while at < len(records):
        end = at + _record(records, at)
        if records[at] == FIRST_BYTE:
            length = int.from_bytes(records[at + HEADER + 1 : at + HEADER + 4])
            if end - at < HEADER + 4 or length > end - at - HEADER - 4:
                raise NotTls("the other side's hello doesn't fit into one record")
        at = end


def _check_start(start: memoryview | bytearray) -> None:
    if start[0] not in _TYPES or (len(start) > 1 and start[1] != 3):
        raise NotTls("the other side doesn't speak TLS")
