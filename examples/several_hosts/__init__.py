"""An example: a scheduler and workers that share no memory. README.md says what it shows."""
