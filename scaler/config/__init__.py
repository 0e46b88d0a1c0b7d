"""Options: what they are (table), and how they come in: from a command line, a TOML file, or a program's arguments."""
