"""The client's end of a connection over TLS."""

from __future__ import annotations

import socket
import threading

from bgpy.memory import Piece
from bgpy.tls.layer import RECORD, TlsLayer
from bgpy.tls.stream import AT_ONCE, CHUNK, CIPHERTEXT, TlsSocket


class DialledTls(TlsSocket):
    """A socket whose server shows its certificate while they shake hands.

    Two things take less here than at a server's end, since a client asks for less. The lock isn't
    reentrant: no handler of a signal uses a connection in the midst of which it has interrupted
    its thread (`bgpy.calling.blocking.threads`). And `send` takes no care of what a handler raises
    in its midst: nobody knows then what has left, and the client ends the connection
    (`SendQueue.torn`).
    """

    def __init__(self, sock: socket.socket, layer: TlsLayer) -> None:
        super().__init__(sock, layer, memoryview(bytearray(CIPHERTEXT)))
        self._lock = threading.Lock()
        self._in_order = True
        """Whether what is sent next may follow: not once a handler has raised in `send`."""

    def shake_hands(self) -> bool:
        """Go one step on; whether TLS is established and `fingerprint` is known.

        Raises `ConnectionResetError` where the stream ends before.
        """
        with self._lock:
            if not self._layer.established and not self._unsent[0]:
                self._layer.begin()
                self._tell()
        memory = memoryview(bytearray(RECORD))
        if not self._layer.established and self._receive(memory) == 0:
            raise ConnectionResetError("the stream ended")
        return self._layer.established

    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 of the server's certificate."""
        return self._layer.peer_fingerprint()

    def send(self, data: Piece) -> int:
        """Send as much of `data` as the socket takes; see `sendmsg`."""
        size = len(data)
        if self._owed or size > CHUNK:
            return self.sendmsg((data,))
        write, read_words, send = self._write, self._read_words, self._send_to_socket
        made, taken = b"", 0
        with self._lock:
            if not self._unsent[0]:
                try:
                    write(data)
                    made = read_words()
                    taken = send(made, AT_ONCE)
                except BaseException as error:
                    self._in_order = False
                    self._refused(error)
                    self._in_order = True
                if taken == len(made):
                    return size
                self._unsent[0], self._owed = made[taken:], 1
                return size - 1
        return self.sendmsg((data,))  # there was no room for it

    def shutdown(self, how: int) -> None:
        """End the connection, and say so before if that can be done at once."""
        if self._in_order:
            super().shutdown(how)
        else:
            self._sock.shutdown(how)
