"""Exceptions, calls and collections that strike anywhere: both sides must bear them.

::

    __main__ ─┬─ client_walk   one act of a client, struck at its 1st, 2nd, 3rd ... instruction
              ├─ server_walk   the same at what a server's task thread does around a task
              └─ storm         signals at random, on both sides, beside 50 threads with time-outs

Each runs in a process of its own, with a server of its own, under a `watch` that shows all
stacks when nothing moves any more. What was asked and what was told is kept in `book`, and
held against what the server counted.

A strike stands for what may happen to any program: a signal handler that raises
(`KeyboardInterrupt` is one), a handler that uses the client itself, and the collector, which
runs a ``__del__`` that does. The walks need no luck: `striker` lets the interpreter handle a
signal exactly after the Nth instruction at which it would look for one.
"""
