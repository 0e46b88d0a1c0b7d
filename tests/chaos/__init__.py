"""Real processes under load, while they are killed, stopped and cut off from each other."""
