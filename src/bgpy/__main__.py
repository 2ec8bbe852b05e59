"""``python -m bgpy`` is the ``bgpy`` command, as in 0.3.1: it keeps that way in."""

from __future__ import annotations

from bgpy.cli import main

if __name__ == "__main__":
    main()
