# Edge, Node, Blob: what stands between a task and those that need its result.
#
# A Node belongs to a row and its edges follow it in the same piece of memory, so neither ever moves: other edges may
# point into them. An edge hangs in one list at most: of the dependants of its input, or of those whose input is not
# here (absent). `link` is the address of whatever points at the edge (the head of the list, or `next` of the one
# before it), so it can leave its list without anybody looking for that.
#
# Rule 1: an edge knows the id of its input. What the dependant's payload says of it is read once, when the task comes:
#         payload and flags change later (objects that were refused, inputs that were written in).
# Rule 2: `link` is NULL if and only if the edge is in no list.
# Not here: when edges are made and served (edges), how those with an absent input are found (absent).

cdef enum:
    ABSENT = 0xFFFFFFFF      # `input` of an edge that waits for a supply
    LOST_GONE = 1            # why an input will not come: it is not there any more
    LOST_NO_ROOM = 2         # its result found no room

cdef struct Blob:             # a result; its bytes follow
    uint32_t holders
    uint32_t size
    uint16_t status
    uint16_t flags
    uint32_t client          # whose tasks it is for

cdef struct Edge:
    Edge *next               # in its list
    Edge **link
    Blob *blob               # the input's result, once it has come
    uint64_t task            # the input
    uint32_t dependant       # row
    uint32_t input           # row; 0: it has come, or never will

cdef struct Node:             # its edges follow
    Edge *dependants         # youngest first
    Blob *blob               # of one that is kept
    uint32_t promised        # dependants that are still to come
    uint32_t served          # that nobody had promised, and that have been given its result
    uint32_t open            # inputs that have not ended
    uint32_t count
    uint32_t edges           # that there is room for
    uint64_t written         # bytes of inputs that its payload, or an object of the scheduler's, has or will have
    uint64_t written_inline  # of these, its payload, with what it had before the inputs came
    uint64_t spilled         # the object that is being written; 0: none
    uint64_t spilled_bytes   # of it that are there
    uint32_t spilled_inputs  # that are there
    uint32_t expected        # of these, the first were promised to it
    uint32_t next_touched    # rows, in the list of those about which something is to be done
    uint32_t previous_touched
    uint8_t is_touched
    uint8_t is_put_off       # its inputs are complete: the same list, but of its client's rows that are put off
    uint8_t inner            # nobody but dependants wants its result
    uint8_t ended
    uint8_t failed           # an input has
    uint8_t lost             # an input will not come: why, of the last of them; 0: none is lost
    uint8_t is_waiting       # its row is ROW_WAITING, and counted with its client


cdef inline Edge *edges_of(Node *node) noexcept nogil:
    return <Edge *>(<char *>node + sizeof(Node))


cdef inline char *bytes_of(Blob *blob) noexcept nogil:
    return <char *>blob + sizeof(Blob)


cdef inline void hang(Edge **head, Edge *edge) noexcept nogil:
    """Put the edge, which is in no list, in front of this one."""
    edge.next = head[0]
    edge.link = head
    if edge.next != NULL:
        edge.next.link = &edge.next
    head[0] = edge


cdef inline void unhang(Edge *edge) noexcept nogil:
    """Take the edge out of its list."""
    edge.link[0] = edge.next
    if edge.next != NULL:
        edge.next.link = edge.link
    edge.next = NULL
    edge.link = NULL
