# LayoutCheck: the compiler refuses structs that lie otherwise than layout.pxi draws them.
#
# The other ends of all rings and pages may be another build of this version, so an offset is a promise. One field too
# many in a struct, or a compiler that pads where it should not, is found here and not by a peer.
#
# Not here: what the offsets mean (layout.pxi).

cdef extern from *:
    """
    #define scaler_static_assert(is_so) _Static_assert(is_so, "shared memory is not laid out as layout.pxi says: " #is_so)
    """
    void static_assert "scaler_static_assert"(bint is_so) noexcept nogil


cdef void check_layout() noexcept nogil:
    """Does nothing when it runs."""
    static_assert(sizeof(Record) == RECORD_HEADER_BYTES)
    static_assert(<size_t>&(<Record *>NULL).function == RECORD_BODY_OFFSET)
    static_assert(MOST_RECORD_WORDS * sizeof(uint64_t) == MOST_RECORD_BYTES)
    static_assert(sizeof(Place) == PLACE_BYTES)
    static_assert(sizeof(Inputs) == INPUTS_HEADER_BYTES)
    static_assert(sizeof(RingHeader) == RING_HEADER_BYTES)
    static_assert(<size_t>&(<PeerPage *>NULL).sleeping == SLEEPING_OFFSET)
    static_assert(<size_t>&(<PeerPage *>NULL).headers == HEADERS_OFFSET)
    static_assert(sizeof(PeerPage) <= PAGE)
    static_assert(sizeof(BellPage) == PAGE)
    static_assert(CHILD_MOST_PAYLOAD == CHILD_SLOT_BYTES - RECORD_HEADER_BYTES)
    static_assert(CHILDREN_BYTES == CHILD_SLOTS * (CHILD_SLOT_BYTES + sizeof(uint64_t)))


check_layout()
