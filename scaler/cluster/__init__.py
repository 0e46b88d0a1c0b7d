"""The workers of one host, their supervisor, and what starts both from code."""
