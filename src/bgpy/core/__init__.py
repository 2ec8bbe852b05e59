"""Keeps 0.3.1's import path ``bgpy.core``."""
