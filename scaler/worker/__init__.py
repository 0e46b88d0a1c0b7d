"""A worker's process: its main loop's surroundings, what a task may know of where it runs."""
