"""The frame that comes most each way, in one step: a small execute, and a small reply to it.

Both hold a plain pickle of at most `SMALL_CALL` bytes and no buffers, extensions or marks, and the
client of the execute waits. The first four bytes of such a frame (kind, tags and the number
of buffers, which is 0) are always the same, so one number says what it is::

    start, length, request = unpack_start(data)
    if start == EXECUTE and length == size - HEADER_SIZE: ...
    sock.send(pack_start(REPLY, len(head), request) + head)

What is any different is read by `bgpy.wire.frames` and written by `bgpy.wire.encoding`, which
would do the same with these.
"""

from __future__ import annotations

import struct

from bgpy.wire.encoding import Tag
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.messages import CODEC_PICKLE, Execute, Reply
from bgpy.wire.table import NUMBERS

SMALL_CALL = 4096
"""Bytes of the pickle."""

_start = struct.Struct("<IIQ")
pack_start = _start.pack
unpack_start = _start.unpack_from
assert _start.size == HEADER_SIZE

EXECUTE = NUMBERS[Execute] | (CODEC_PICKLE << 4 | Tag.WAIT) << 8
REPLY = NUMBERS[Reply] | CODEC_PICKLE << 12
