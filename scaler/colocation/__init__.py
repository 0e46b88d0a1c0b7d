"""Processes of one host: how they find each other, and hand over rings, bells and descriptors."""
