"""How large a client's rings are, and how many bits of its task ids are its own."""

RING_BYTES = 262144
CLIENT_BITS = 24
