"""TLS of one connection without a socket: ciphertext in and out, plaintext in and out.

::

    received ─► records ─► incoming ─► OpenSSL ─► memory        (decrypt)
    data ─────────────────► OpenSSL ─► words                    (encrypt)

OpenSSL is handed whole records only, and no more of them than their plaintext fits into
the caller's memory. So it never holds plaintext back, and the one that polls the socket
knows all there is to know. For one thread at a time.
"""

from __future__ import annotations

import ssl
from typing import cast

from bgpy.forks import briefly
from bgpy.tls.contexts import fingerprint, reason

RECORD = 2**14
"""Bytes: the longest plaintext of a record (RFC 8446, 5.1)."""

_HEADER = 5
_LONGEST = RECORD + 256  # ciphertext of a record (RFC 8446, 5.2)
_TYPES = range(20, 24)
_DATA = 23

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
        self._feed = self._incoming.write
        self._server_side = server_side
        self._tls = context.wrap_bio(self._incoming, self.words, server_side)
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
        size = len(received)
        if (
            not self.partial
            and size > _HEADER
            and received[0] == _DATA
            and received[3] << 8 | received[4] == size - _HEADER
            and self.established
        ):
            # One record of data, as a small call comes: nothing to be kept, or cut.
            self._feed(received)
            return self._read(memory)
        self._feed_records(received)
        if not self._incoming.pending or not (self.established or self._shake_hands()):
            return 0
        return self._read(memory)

    def encrypt(self, data: bytes | bytearray | memoryview) -> None:
        """Put the ciphertext of `data` into `words`, behind what is there: all of it, or nothing.

        Raises `NotTls`.
        """
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise NotTls(f"TLS is broken: {reason(error)}") from error

    def end(self) -> None:
        """Put it into `words` that this side sends no more."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other side has not said so, and need not

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
            raise NotTls(f"the TLS handshake failed: {reason(error)}") from error
        self.established = True
        return True

    def _read(self, memory: memoryview) -> int:
        filled, size = 0, len(memory)
        try:
            # With memory it gives how much it has read; typeshed says bytes.
            filled = cast(int, self._tls.read(size, memory))
            if not filled:
                self.ended = True
            while filled and filled < size and self._incoming.pending:
                count = cast(int, self._tls.read(size - filled, memory[filled:]))
                if not count:
                    self.ended = True
                    break
                filled += count
        except ssl.SSLWantReadError:
            pass  # what was left of those records held no data
        except ssl.SSLError as error:
            raise NotTls(f"TLS is broken: {reason(error)}") from error
        return filled

    def _feed_whole(self, records: memoryview | bytearray) -> None:
        if self._server_side and not self.established:
            _check_hellos(records)
        self._feed(records)

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
        return _HEADER - held if held < _HEADER else _record(self.partial, 0) - held


def _whole_records(data: memoryview) -> int:
    """Bytes of the records at the start of `data` that are whole; `NotTls` if they are none."""
    size, end = len(data), 0
    while size - end >= _HEADER:
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
    if length > _LONGEST:
        raise NotTls(f"the other side sent a TLS record of {length} bytes")
    return _HEADER + length


def _check_hellos(records: memoryview | bytearray) -> None:
    """Raise `NotTls` if a client's hello is longer than the record it begins in.

    OpenSSL would take 128 KiB at once for a stranger that but announces so much.
    """
    at = 0
    while at < len(records):
        end = at + _record(records, at)
        if records[at] == FIRST_BYTE:
            length = int.from_bytes(records[at + _HEADER + 1 : at + _HEADER + 4])
            if end - at < _HEADER + 4 or length > end - at - _HEADER - 4:
                raise NotTls("the other side's hello doesn't fit into one record")
        at = end


def _check_start(start: memoryview | bytearray) -> None:
    if start[0] not in _TYPES or (len(start) > 1 and start[1] != 3):
        raise NotTls("the other side doesn't speak TLS")
