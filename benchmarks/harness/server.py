"""``python -m benchmarks.harness.server NAME``: a peer's server, until standard input ends.

It writes one line: ``{"pid": ..., "address": ..., "token": ..., ...}``.
"""

from __future__ import annotations

import sys

from benchmarks import peers
from benchmarks.harness.pipes import claim_stdout

if __name__ == "__main__":
    name = sys.argv[1]
    peers.load(name).serve(claim_stdout(), **peers.PEERS[name].options)
