"""How bytes and descriptors travel between processes. A link knows no task."""
