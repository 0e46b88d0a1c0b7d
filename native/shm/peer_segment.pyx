# PeerSegment: what is in the segment of a client or a worker, made by it and read at the other ends.
#
# layout.pxi draws it: a page with the nonce, the sizes and the headers of the rings, then the rings themselves.
#
# Rule 1: a process that opens a peer's segment believes the page only as far as the segment is large enough for what the
#         page says.
# Not here: how the segment is handed over (scaler.colocation.handshake, scaler.colocation.listener).

cdef enum:
    SLEEPING_OFFSET = 64


cdef tuple peer_rings(Segment memory):
    """The four rings of a peer's segment, as its page says; ValueError if that is not so."""
    cdef PeerPage *page = <PeerPage *>memory.start
    cdef size_t offset = PAGE
    cdef list rings = []
    cdef int i
    if memory.size < PAGE or page.magic != LAYOUT_MAGIC or page.version != LAYOUT_VERSION:
        raise ValueError(f"segment {memory.name!r} is not laid out as this version's peers lay it out")
    for i in range(RINGS):
        rings.append(Ring(memory, HEADERS_OFFSET + i * RING_HEADER_BYTES, page.ring_bytes[i], offset))
        offset += page.ring_bytes[i]
    return tuple(rings)


def peer_segment_bytes(uint32_t ring_bytes, uint32_t control_bytes, uint32_t children_bytes=0):
    """Size of a peer's segment with rings of these sizes."""
    return PAGE + 2 * ring_bytes + 2 * control_bytes + children_bytes


def lay_out_peer(Segment memory not None, bytes nonce not None, uint32_t ring_bytes, uint32_t control_bytes,
                 uint32_t children_bytes=0):
    """Write the page of a fresh peer segment."""
    cdef PeerPage *page = <PeerPage *>memory.start
    if len(nonce) != 16 or memory.size < peer_segment_bytes(ring_bytes, control_bytes, children_bytes):
        raise ValueError("a nonce has 16 bytes, and the segment must hold the rings")
    page.version = LAYOUT_VERSION
    memcpy(page.nonce, <char *>nonce, 16)
    page.ring_bytes[RING_TASKS] = page.ring_bytes[RING_RESULTS] = ring_bytes
    page.ring_bytes[RING_UP] = page.ring_bytes[RING_DOWN] = control_bytes
    page.children_bytes = children_bytes
    page.magic = LAYOUT_MAGIC


def nonce_of(Segment memory not None):
    """The nonce that the peer wrote into its segment."""
    if memory.size < PAGE:
        raise ValueError(f"segment {memory.name!r} is too small")
    return (<PeerPage *>memory.start).nonce[:16]
