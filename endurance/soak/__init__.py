"""One server for a long time, among clients that come, go and die: it must not grow."""
