"""An example: a job that goes on when its scheduler is killed. README.md says what it shows."""
