"""What bgpy withstands, measured against bars: strangers by the million, and long use.

::

    __main__ ── measures ──► results ──► bars: a table for the terminal, docs/siege.md
                   │
                   ├── storm     hostile inputs over real connections, many at once
                   ├── onstage   hostile inputs into real sessions without sockets
                   └── slow      ``python -m endurance.siege.slow``: half-open peers, in a process

The hostile inputs come from `fuzz`: mutations of recorded conversations, by a seed.
"""
