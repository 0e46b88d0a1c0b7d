"""The scheduler's process: an event loop around the core."""
