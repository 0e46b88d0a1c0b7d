"""An example: tasks that submit tasks. README.md says what it shows."""
