"""Sockets of the standard library's `ssl`: what TLS 1.3 on loopback allows from Python."""

from __future__ import annotations

import ssl
import tempfile

from benchmarks.harness.pipes import Tell
from benchmarks.peers import raw


def serve(tell: Tell) -> None:
    """As raw sockets, with a certificate of the sort that bgpy makes."""
    from bgpy.tls import certificates

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificates.make())
        file.flush()
        context.load_cert_chain(file.name)
    raw.serve(tell, wrap=lambda sock: context.wrap_socket(sock, server_side=True))


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connection(raw.Connection):
    """A connected socket that speaks TLS."""

    wrap: raw.Wrap = staticmethod(lambda sock: _client_context().wrap_socket(sock))
