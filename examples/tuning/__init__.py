"""An example: a search for good parameters of a model. README.md says what it shows."""
