"""The same work on bgpy and on its peers, measured in one interleaved run.

::

    __main__ ── harness.measures: rounds of short slices ──► harness.results ──► report
                   │
                   ├── harness.server NAME    a peer's server, in a process of its own
                   ├── harness.client NAME    its client, told over a pipe what to measure
                   └── harness.startup NAME   from nothing to the first reply, once per process

``peers/`` holds one module per peer: how its documentation would serve and call. ``harness/``
measures, ``report/`` makes text, Markdown and the chart of the figures and holds them against
the bars. Linux only: it pins processes to cores and reads other processes' CPU clocks.
"""
