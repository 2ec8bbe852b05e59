"""TLS 1.3 below the handshake of the token, for what leaves this machine.

::

    certificates   making, keeping and renewing the server's own certificate
    contexts       what both sides agree to: TLS 1.3 and nothing older
    layer          ciphertext ↔ plaintext of one connection, without a socket
    stream         a socket that speaks TLS
    dialled        the client's end of that
    either         a server's end that tells TLS from plain bytes

Nobody signs the certificate and no client checks who did: its hash goes into the proof
of the token (`bgpy.wire.handshake`), so that a proof made over a relay's certificate
is worth nothing at the server. Imported only where TLS is spoken, since `ssl` takes
longer than everything else that a client imports.
"""
