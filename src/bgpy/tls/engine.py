"""TLS of one connection without a socket: ciphertext in and out, plaintext in and out.

::

    received ─► records ─► incoming ─► OpenSSL ─► memory        (decrypt)
    data ─────────────────► OpenSSL ─► outgoing ─► ciphertext   (encrypt)

OpenSSL is handed whole records only, and no more of them than their plaintext fits into
the caller's memory. So it never holds plaintext back, and whoever polls the socket
knows all there is to know. For one thread at a time.
"""

from __future__ import annotations

import ssl
from typing import cast

from bgpy.tls.contexts import fingerprint, reason

RECORD = 2**14
"""Bytes: the longest plaintext of a record (RFC 8446, 5.1)."""

_HEADER = 5
_LONGEST = RECORD + 256  # ciphertext of a record (RFC 8446, 5.2)
_TYPES = range(20, 24)

FIRST_BYTE = 22
"""The first byte that a client sends over TLS: the type of a handshake's record."""


class NotTls(ConnectionAbortedError):
    """The other side doesn't speak TLS 1.3, or broke it; the connection is of no more use."""


class Engine:
    """One side of one connection."""

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side)
        self._received = bytearray()
        """Ciphertext of a record that isn't whole yet."""
        self.established = False
        """Whether both sides have agreed on keys, so that data can be sent."""
        self.ended = False
        """Whether the other side has said that it sends no more."""

    def begin(self) -> None:
        """Open the conversation, as the client does: its first words are outgoing."""
        self._shake_hands()

    def room(self, size: int) -> int:
        """How much ciphertext may be received for `size` (>= `RECORD`) bytes of memory."""
        held = len(self._received)
        if held < _HEADER:
            return size - held
        return max(size - held, _HEADER + self._length(0) - held)

    def decrypt(self, received: memoryview, memory: memoryview) -> int:
        """Take ciphertext, `room` at most; give how much plaintext was put into `memory`.

        Raises `NotTls` at the first byte that can't be right; what is `outgoing` then tells
        the other side why.
        """
        self._received += received
        whole = self._whole_records()
        if not whole:
            return 0
        with memoryview(self._received) as view, view[:whole] as records:
            self._incoming.write(records)
        del self._received[:whole]
        if not self.established and not self._shake_hands():
            return 0
        return self._read(memory)

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Give the ciphertext of `data`, with what was outgoing before it."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise NotTls(f"TLS is broken: {reason(error)}") from error
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """Take what TLS itself has to say: handshakes, alerts."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def end(self) -> None:
        """Say that this side sends no more; it is outgoing."""
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
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise NotTls(f"no agreement on TLS: {reason(error)}") from error
        self.established = True
        return True

    def _read(self, memory: memoryview) -> int:
        filled = 0
        try:
            while self._incoming.pending and filled < len(memory):
                # With a buffer it gives how much it has read; typeshed says bytes.
                count = cast(int, self._tls.read(len(memory) - filled, memory[filled:]))
                if not count:
                    self.ended = True
                    break
                filled += count
        except ssl.SSLWantReadError:
            pass  # those records held no data
        except ssl.SSLError as error:
            raise NotTls(f"TLS is broken: {reason(error)}") from error
        return filled

    def _whole_records(self) -> int:
        """Bytes of the records that are whole."""
        held, end = len(self._received), 0
        while held - end >= _HEADER:
            following = end + _HEADER + self._length(end)
            if following > held:
                break
            end = following
        if held > end:
            self._check_start(end)
        return end

    def _length(self, at: int) -> int:
        self._check_start(at)
        length = int.from_bytes(self._received[at + 3 : at + 5])
        if length > _LONGEST:
            raise NotTls(f"the other side sent a TLS record of {length} bytes")
        return length

    def _check_start(self, at: int) -> None:
        received = self._received
        known = received[at] in _TYPES and (len(received) == at + 1 or received[at + 1] == 3)
        if not known:
            raise NotTls("the other side doesn't speak TLS")
