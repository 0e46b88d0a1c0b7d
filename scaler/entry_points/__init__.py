"""The commands. Thin: arguments to a config, and that to the program it is for. Nothing imports from here."""
