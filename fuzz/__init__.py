"""Bytes that nobody should send, for everything in bgpy that takes bytes from strangers.

::

    corpus: what an honest side says ──► mutation ──┐
                                         atheris ───┼──► targets ──► documented errors only
                                      hypothesis ───┘

`python -m fuzz` runs the targets for a set time, guided by coverage where atheris is installed.
The tests run the same targets for a moment, with fixed seeds (``tests/chaos/test_fuzz.py``).
"""
