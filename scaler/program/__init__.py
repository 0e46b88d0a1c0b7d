"""What each process of ours needs around its work: how it starts, logs, waits, and ends."""
