"""What differs between builds of one version of Python."""

from __future__ import annotations

import sys
import sysconfig

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""Whether this Python can do without its global lock (docs/pythons.md says what is claimed)."""

IMMORTAL = FREE_THREADED and sys.version_info < (3, 14)
"""Whether functions, classes and modules last for ever once a thread was started."""

KEEPS_MEMORY = "the allocator of free-threaded builds keeps up to a gigabyte of what was freed"
"""Why a test that looks at a process's memory is skipped where `FREE_THREADED`."""

EMPTIED_FIRST = "3.13t empties all modules at its end, before what they hold is dropped"
NEVER_DROPPED = "3.13t drops no function, class or module once a thread was started"
"""Why a test is skipped where `IMMORTAL`."""
