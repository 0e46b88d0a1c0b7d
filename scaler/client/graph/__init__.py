"""Graphs of calls: reading them (read), their order (order), what goes in one piece (fuse), sending them (run)."""
