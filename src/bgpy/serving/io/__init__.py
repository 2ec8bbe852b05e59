"""Sockets, and the threads that poll them."""
