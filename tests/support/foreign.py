"""What speakers of other protocols say first."""

from __future__ import annotations

FOREIGN = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "http-post": b"POST /shell HTTP/1.1\r\nContent-Length: 4\r\n\r\nrm -",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "pickle-with-length-in-text": b"42        \x80\x04\x95\x10\x00\x00\x00",
    "pickle-with-length-in-binary": b"\x00\x00\x00\x2a\x80\x04\x95\x10\x00\x00\x00",
    "bare-pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "newlines": b"\r\n\r\n",
}
