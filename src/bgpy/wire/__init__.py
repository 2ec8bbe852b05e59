"""The wire: bytes to frames to messages, the handshake, the state of one connection.

Pure: no sockets, threads, clocks, randomness or pickle; all of those are parameters.
Specified in ``docs/protocol.md``.
"""
