"""Real faults, one at a time: which are seen, and of which is the cause named."""
