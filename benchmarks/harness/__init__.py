"""What measures: processes of a peer, slices of work, and the figures they give."""
