"""Scaler: run Python functions on every core of one machine or of a cluster, fast even when each task is tiny."""
