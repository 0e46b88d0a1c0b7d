"""An example: implied volatilities over a chain of options. README.md says what it shows."""
