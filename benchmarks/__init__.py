"""The same work on bgpy and on its peers, measured in one interleaved run.

::

    __main__ ── measures: rounds of short slices ──► results ──► report (text, Markdown), chart
                   │                                   └──► bars: met or not
                   ├── benchmarks.server NAME    a peer's server, in a process of its own
                   ├── benchmarks.client NAME    its client, told over a pipe what to measure
                   └── benchmarks.startup NAME   from nothing to the first reply, once per process

``peers/`` holds one module per peer: how its documentation would serve and call. Linux only:
it pins processes to cores and reads other processes' CPU clocks.
"""
