"""Log lines whose handlers may raise: what a program hooks into logging ends none of our work."""

from __future__ import annotations

import logging
import sys
import traceback

from bgpy.system.strikes import is_strike_amid


class Bearing(logging.Logger):
    """A logger that bears what its handlers and filters raise, as handlers of Python's do."""

    def handle(self, record: logging.LogRecord) -> None:
        """As `logging.Logger.handle`; a failure is printed where `logging.raiseExceptions` is."""
        try:
            super().handle(record)
        except Exception as error:
            if is_strike_amid(error):
                raise
            if logging.raiseExceptions and sys.stderr is not None:
                traceback.print_exc(limit=-3, file=sys.stderr)


def bear_handlers(name: str) -> None:
    """Have the logger of that name, which modules hold already, bear what its handlers raise."""
    logger = logging.getLogger(name)
    if type(logger) is logging.Logger:
        logger.__class__ = Bearing
