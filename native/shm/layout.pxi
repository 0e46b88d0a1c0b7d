# What stands where in shared memory, drawn once. Every offset of the project comes from here.
#
# A peer's segment (a client's or a worker's)      A ring                      A record, 8-byte aligned
#
#   0     PeerPage (4 KiB): magic, nonce,            header, 128 bytes:           0  record_bytes  header + payload
#         sleeping, what the worker does now,        0    head   (producer)       4  kind, flags, status
#         headers of the rings from 192 on           64   tail   (consumer)       8  claim         state 2 | generation
#         30
#   4096  ring TASKS     client -> / -> worker       72   waiting_for_room        12 function
#         ring RESULTS   -> client / worker ->                                    16 task
#         ring UP        control, peer -> scheduler  data: capacity bytes of      24 attempt
#         ring DOWN      control, scheduler -> peer  records, behind the header   32 items, detail
#         CHILDREN       of a worker's own client    or elsewhere                 40 duration_ns
#                        (children.pyx)                                           48 cpu_us, memory_peak_kib
#                                                                                 56 payload
#                                                                                 In a task 48 is its options, its time
#                                                                                 limit in ms (task_options.pyx)
#   The bell page (scheduler or relay)
#   0     sleeping, hungry (some worker is idle: say when there are children)
#   64    news: one bit per peer
#
# All headers of a peer stand in its one page. The flag of a producer that waits for room stands beside the tail, which
# its reader has at hand: a scheduler with a thousand workers has none of this in its caches, and pays for each page and each line.
#
# A payload with FLAG_OBJECTS                      A Place
#
#   0     count of places (4 bytes), 4 free          0    object   maker's tag << 40 | number, the name everywhere
#   8     Place[count]                               8    segment  where it lies on this host: bit 63 a file,
#   ..    the pickle                                               keeper's tag << 32 | number; 0: not on this host
#                                                    16   offset   in that segment
#   A packed object (PLACE_PACKED)                   24   size     bytes
#                                                    32   flags, 4 free
#   0     bytes of the pickle
#   8     count of buffers
#   16    (offset, size)[count]
#   ..    the pickle, then the buffers, each at a multiple of 64
#
# head and tail are positions: they grow for ever. position % capacity is an index into the data. Lengths are never
# mixed with either. A record never wraps: where it would, a PADDING record fills the rest.

cpdef enum:
    PAGE = 4096
    LAYOUT_MAGIC = 0x5343414C
    LAYOUT_VERSION = 5
    RING_HEADER_BYTES = 128
    HEADERS_OFFSET = 192       # of the first ring's header in a peer's page
    RECORD_HEADER_BYTES = 56
    PLACE_BYTES = 40
    PLACES_OFFSET = 8
    MOST_RECORD_BYTES = 32768  # of one record, so that it fits into any ring of any peer
    MOST_RECORD_WORDS = 4096   # the same in words of 8 bytes
    RING_TASKS = 0
    RING_RESULTS = 1
    RING_UP = 2
    RING_DOWN = 3
    RINGS = 4
    NEWS_WORDS = 504

cpdef enum:
    KIND_PADDING = 0
    KIND_TASK = 1
    KIND_RESULT = 2
    KIND_FUNCTION = 3
    KIND_CANCEL = 4
    KIND_RELEASE = 5      # ids (8 bytes each) of objects that the sender holds no more
    KIND_CLEAR = 6
    KIND_SHUTDOWN = 7
    KIND_GOODBYE = 8
    KIND_WORKERS = 9
    KIND_REFUSED = 10
    KIND_FREED = 11       # ids of objects of the receiver's store that nobody holds any more
    KIND_FORGET = 12      # the function of this number will be named no more
    KIND_WAIT = 13        # a task that submitted this one waits for it, and runs it itself if nobody else does
    KIND_RUN_HERE = 14    # the answer: run it
    KIND_RETURN = 15      # it was run (flags 0), or is to be run elsewhere after all (flags 1)
    KIND_QUESTION = 16    # a client wants to know something of a task; what, and which question that is, in the payload
    KIND_ANSWER = 17      # the answer, or a part of it
    KIND_OUTPUT = 18      # to a client: text that its tasks have written, or a part of it

cpdef enum:
    FLAG_OBJECTS = 1      # the payload begins with the places of objects
    FLAG_PLAIN = 2        # made of None, bool, int, float, str, bytes only: unpickling it runs no user code
    FLAG_KEYWORDS = 4     # the arguments are (args, kwargs), not args
    FLAG_CHUNK = 8        # several calls of one map
    FLAG_PROFILE = 16     # measure this task by itself, whatever it costs
    FLAG_INPUTS = 32      # the payload names, or has, results of other tasks (inputs.pyx)
    FLAG_OUTPUT = 64      # what the task writes to stdout and stderr goes to its client
    FLAG_NAMED = 64       # of a function: its bytes are its name, and its tasks' payloads are neutral (worker/runner.pyx)
    FLAG_RESENT = 128     # it was sent to a scheduler before this one: a worker may have it

cpdef enum:
    FLAG_REQUEST = 8      # of a function that a client announces: behind it stands what its calls ask for (resources.pyx)

cpdef enum:
    PLACE_NEW = 1         # the writer of this record made the object for it
    PLACE_HELD = 2        # and holds it beyond this record, until it says KIND_RELEASE
    PLACE_STREAM = 4      # the object is the pickle that this payload has no room for
    PLACE_PACKED = 8      # the object is a pickle with its buffers; else it is one buffer of this record's pickle
    PLACE_SHARED = 16     # what comes out of it is read-only: it came by reference
    PLACE_INPUT = 32      # the object is the result of another task; with PLACE_STREAM, it has all the others

cpdef enum:
    STATUS_OK = 0
    STATUS_RAISED = 1         # (exception, traceback text), pickled
    STATUS_WORKER_DIED = 2    # text
    STATUS_REFUSED = 3        # text
    STATUS_UNREADABLE = 4     # as RAISED: function or arguments could not be unpickled
    STATUS_NO_WORKER = 5      # text
    STATUS_MISSING = 6        # text: an object that the task names is not there
    STATUS_STOPPED = 7        # nothing: it was stopped, since nobody wanted it any more

cpdef enum:
    CLAIM_OFFERED = 0
    CLAIM_CLAIMED = 1
    CLAIM_WITHDRAWN = 2

cpdef enum:
    CANCEL_UNBEGUN = 1    # flag of KIND_CANCEL: only if nobody has begun it; then it is answered

cpdef enum:
    STATE_IDLE = 0
    STATE_RUNNING = 1

cdef packed struct Record:
    uint32_t record_bytes
    uint8_t kind
    uint8_t flags
    uint16_t status
    uint32_t claim
    uint32_t function
    uint64_t task
    uint64_t attempt
    uint32_t items
    uint32_t detail
    uint64_t duration_ns
    uint32_t cpu_us
    uint32_t memory_peak_kib

cdef packed struct Place:
    uint64_t object
    uint64_t segment
    uint64_t offset
    uint64_t size
    uint32_t flags
    uint32_t gap

cdef packed struct RingHeader:
    uint64_t head
    uint64_t gap_a[7]
    uint64_t tail
    uint32_t waiting_for_room
    uint32_t gap_b[13]

cdef packed struct PeerPage:
    uint32_t magic
    uint32_t version
    uint8_t nonce[16]
    uint32_t ring_bytes[4]
    uint32_t children_bytes
    uint32_t gap_a[3]
    uint64_t final             # attempt in which a child runs in place that may not be tried again; 0: none
    uint32_t sleeping
    uint32_t gap_c[1]
    uint64_t epoch              # whose the other end is: differs after each takeover
    uint64_t takeover_tasks    # from here on tasks are that owner's
    uint64_t takeover_down     # and so are announcements
    uint64_t takeover_results  # from here on results were unread then
    uint64_t in_place          # calls that its tasks have run themselves, by the worker
    uint32_t piece_node        # of the piece of a graph that it runs: one more than the place of the node it is at; 0: no piece
    uint32_t gap_g[3]
    uint32_t state
    uint32_t stop_raised       # in what runs the stop was raised, and what it makes of that is its affair
    uint64_t task
    uint64_t attempt
    uint64_t since_ns          # of the task, or of the call of a chunk with a limit
    uint64_t limit_ns          # how long that may take; 0: any time. So far all is the worker's to write
    uint64_t stop_task         # what is to be stopped, written by the other side
    uint64_t stop_attempt
    uint64_t stop_since_ns     # only the call that runs since then; 0: the attempt
    RingHeader headers[4]      # at HEADERS_OFFSET, in the order of the rings
    uint32_t name_bytes        # the function of a task with a limit, for the one who has to say that it took too long
    char name[124]

cdef packed struct BellPage:
    uint32_t sleeping
    uint32_t hungry
    uint32_t gap_a[14]
    uint64_t news[504]

cdef inline uint32_t padded(uint32_t record_bytes) noexcept nogil:
    return (record_bytes + 7) & ~<uint32_t>7

cdef inline uint32_t claim_word(uint32_t state, uint64_t position) noexcept nogil:
    return state | (<uint32_t>((position >> 3) & 0x3FFFFFFF) << 2)
