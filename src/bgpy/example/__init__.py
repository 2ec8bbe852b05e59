"""Keeps 0.3.1's import path ``bgpy.example``: tasks to try a server with."""
