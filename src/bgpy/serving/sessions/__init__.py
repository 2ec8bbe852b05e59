"""One client each: the door, what was received and is to be sent, and the log of who came."""
