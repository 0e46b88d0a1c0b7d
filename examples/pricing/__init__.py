"""An example: a book of options and its Greeks by Monte Carlo. README.md says what it shows."""
