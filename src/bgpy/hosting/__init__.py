"""What a server's process runs: the listener, the core, the tasks' engine and the signals."""
