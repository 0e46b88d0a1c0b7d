# Piece: some nodes of a matrix graph that one task runs in a loop, and what comes of them, as columns.
#
# A piece and its answer are the argument and the result of an ordinary task: bytes, of which nobody between the client
# and the task's code knows what is in them. Both ends are of one version and one byte order, as with any pickle here.
#
#     piece:   PieceHead | the graph's number of each function | ends | codes | function of each node | is it wanted |
#              kinds and values of what comes from outside | blob
#     answer:  AnswerHead | is it there (only if it stopped early) | kinds and values of what is wanted |
#              PieceTime of each function | PieceFailure of each call that failed | blob
#
# Each column begins at a multiple of 8 bytes. `ends` says where the arguments of each node end among the codes. A code
# >= 0 is an earlier node of the piece, another one is ~k: value k from outside. A value is a kind (a byte) and 8 bytes:
# the number itself, or (for VALUE_PICKLED) where in the blob its pickle begins (upper 32 bits) and how long it is.
#
# Rule 1: what reads one of these believes no number in it: a length is compared with the size, a place with the length.
# Not here: which nodes make a piece (client/matrix_nodes), how it is run (worker/piece_runner).

from libc.stdint cimport int32_t, int64_t

cdef enum:
    PIECE_MAGIC = 0x31636550
    ANSWER_MAGIC = 0x31636E41
    MOST_PIECE_FUNCTIONS = 65536      # of one graph

cdef enum:                             # what a node is, and what kind of value it has
    NODE_UNNEEDED = 0
    NODE_WAITING = 1                   # for its inputs
    NODE_READY = 2
    NODE_SENT = 3
    VALUE_GONE = 4                     # done, and its value is not needed any more
    VALUE_INT = 5
    VALUE_FLOAT = 6
    VALUE_BOOL = 7
    VALUE_NONE = 8
    VALUE_PICKLED = 9
    VALUE_FAILED = 10                  # the value is the node that has failed first, of those that this one needs


cdef struct PieceHead:
    uint32_t magic
    uint32_t nodes
    uint32_t codes
    uint32_t outside                   # values that come from outside
    uint32_t functions                 # that it calls
    uint32_t most_arguments            # of one node
    uint64_t limit_ns                  # after which it stops behind the node it is at
    uint64_t blob_bytes


cdef struct AnswerHead:
    uint32_t magic
    uint32_t done                      # nodes, the first ones
    uint32_t values
    uint32_t functions
    uint32_t failures
    uint32_t is_cut                    # it stopped early: what it says is there is more than was wanted
    uint64_t duration_ns
    uint64_t blob_bytes


cdef struct PieceTime:
    uint64_t calls
    uint64_t duration_ns


cdef struct PieceFailure:
    uint32_t node                      # of the piece
    uint32_t bytes
    uint64_t offset                    # in the blob


cdef inline size_t column_bytes(size_t count, size_t each) noexcept nogil:
    """How many bytes a column takes."""
    return (count * each + 7) & ~<size_t>7


cdef struct Column:                    # cuts one column after the other from what was received
    const char *at
    size_t left


cdef inline const char *next_column(Column *column, size_t count, size_t each) except NULL:
    cdef size_t size = column_bytes(count, each)
    cdef const char *start = column.at
    if count > column.left or size > column.left:     # of a count that is too large the size may be small again
        raise ValueError("the columns of a piece are longer than it is")
    column.at += size
    column.left -= size
    return start


cdef int kind_of(object value, int64_t *number) except -1:
    """The kind of a value that fits its eight bytes, which are written; VALUE_PICKLED for all others."""
    cdef int overflow = 0
    cdef double real
    if type(value) is int:
        number[0] = PyLong_AsLongLongAndOverflow(value, &overflow)
        return VALUE_PICKLED if overflow else VALUE_INT
    if type(value) is float:
        real = PyFloat_AS_DOUBLE(value)
        memcpy(number, &real, 8)
        return VALUE_FLOAT
    if value is True or value is False:
        number[0] = value is True
        return VALUE_BOOL
    if value is None:
        number[0] = 0
        return VALUE_NONE
    return VALUE_PICKLED


cdef inline object number_value(int kind, int64_t number):
    """The value of such a kind."""
    cdef double real
    if kind == VALUE_INT:
        return number
    if kind == VALUE_FLOAT:
        memcpy(&real, &number, 8)
        return real
    if kind == VALUE_BOOL:
        return number != 0
    if kind == VALUE_NONE:
        return None
    raise ValueError(f"a value of kind {kind} in a piece")


cdef inline int64_t in_blob(size_t offset, size_t size) except? -1:
    if offset + size >= 0x7FFFFFFF:
        raise OverflowError("the values of one piece are larger than 2 GiB")
    return <int64_t>((<uint64_t>offset << 32) | <uint64_t>size)


cdef inline bint is_in_blob(size_t blob_bytes, int64_t where) noexcept nogil:
    return (<uint64_t>where >> 32) + <uint32_t>where <= blob_bytes


cdef bytes from_blob(const char *blob, size_t blob_bytes, int64_t where):
    """The pickle that lies there."""
    if not is_in_blob(blob_bytes, where):
        raise ValueError("a value of a piece lies outside of it")
    return PyBytes_FromStringAndSize(blob + (<uint64_t>where >> 32), <uint32_t>where)
