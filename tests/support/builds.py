"""What differs between builds of one version of Python."""

from __future__ import annotations

import sysconfig

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""Whether this Python can do without its global lock (docs/pythons.md says what is claimed)."""
