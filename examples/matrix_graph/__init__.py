"""An example: an American option on a lattice of a million nodes. README.md says what it shows."""
