# FunctionTable: the functions of all clients, once each, and how long each takes.
#
# Equal functions (by the digest of their bytes) of different clients are one here, so a worker unpickles it once and
# what was measured for one client serves all.
#
# A function has users: each number under which a client has announced it, and each row that names it. With the last of
# them it is forgotten: its bytes go, what it carries is let go, and the workers that know it are told, as far as their
# control rings have room, the rest later. What it carries is held by these workers too (dispatcher), since they may
# look at it until they hear that it is forgotten; they give it back themselves.
#
# What a task is charged to its worker: what such tasks take on average, but at least `floor_ns`. That is all the credit
# as long as nobody knows how long they take, so that nothing is put behind the first ones, and half of that with each
# answer that came quickly. Without it a hundred tasks that are quick as far as one answer says would go to one worker.
#
# One that asks for resources is another one than the same that does not, or asks for others: its request is part of what
# it is known by, and what its calls take is measured for it alone.
#
# Its bytes count to each client that has announced it (quota): to one that has forgotten it, too, until it has no user any
# more, be it for another client. How many rows of each client use a function would cost every task a second count.
#
# Rule 1: a place in the table is used again, a number never: a worker that has not yet heard of the end of one function
#         cannot take another for it.
# Rule 2: what was counted for a function outlives it (counts), in `gone` or in the sum of all that have gone.
# Not here: which of a client's numbers means which function (clients), which worker has it (workers, dispatcher).

from collections import deque as _deque
from hashlib import blake2b as _blake2b, sha256 as _sha256

cdef enum:
    QUICK_NS = 1000000
    LEAST_TASK_NS = 500        # that any task is charged
    NO_FUNCTION = 0xFFFFFFFF
    KEY_FLAGS = FLAG_OBJECTS | FLAG_NAMED    # functions that differ in these are never taken for the same
    MOST_GONE = 256            # functions that no client has any more, and that are shown still
    MOST_GONE_BYTES = 4096     # of one of these, for its name

cdef struct Function:
    uint64_t mean_ns       # 0: nobody has answered yet
    uint32_t floor_ns      # what a task of it is charged at least
    uint32_t users
    uint32_t number        # what workers, and viewers, know it by; from 1 on
    uint32_t request       # what its calls ask for (resources); 0: nothing
    FunctionCounts counts


cdef inline uint64_t expected_ns(Function *function, uint32_t items) noexcept nogil:
    """How long a task of it with so many calls takes, by what is known; 0: nothing is."""
    return function.mean_ns * (items if items else 1)


cdef bytes digest_of(bytes payload, int flags):
    """What a function with these bytes is known by. SHA-256 is in every language's libraries, in which names are said."""
    if flags & FLAG_NAMED:
        return _sha256(payload).digest()[:DIGEST_BYTES]
    return _blake2b(payload, digest_size=16).digest()


@cython.final
cdef class Announced:
    """What was announced, and to which workers (by index) it has been."""
    cdef bytes digest, payload
    cdef int flags
    cdef list workers

    cdef uint32_t record_bytes(self):
        """Of the payload of the record that announces it."""
        return <uint32_t>(len(self.digest) + len(self.payload))


@cython.final
cdef class GoneFunction:
    """What is still shown of a function that no client has any more."""
    cdef uint32_t number
    cdef bytes payload
    cdef FunctionCounts counts

    def __dealloc__(self):
        free(self.counts.histograms)


@cython.final
cdef class FunctionTable:
    """Functions by index."""
    cdef ObjectTable objects
    cdef ClientTable clients
    cdef Function *functions
    cdef uint32_t room
    cdef uint32_t length          # places that have ever been in use
    cdef uint32_t next_number
    cdef list announced           # Announced by index; None where there is none
    cdef list free_places
    cdef dict index_of            # (digest, KEY_FLAGS of it, what it asks for) -> index
    cdef ResourceTable resources
    cdef list forgotten           # (index, number, workers) that nobody has been told of
    cdef bint has_forgotten
    cdef dict owed                # index -> clients (indices) that have forgotten it, and to which it still counts
    cdef dict owed_by             # the other way round
    cdef uint32_t with_histograms # how many have histograms
    cdef FunctionCounts gone_counts    # of those that have gone and are not in `gone`
    cdef object gone              # (number, the bytes it was announced with, its counts) of the last ones that have gone

    def __cinit__(self, ObjectTable objects, ClientTable clients, ResourceTable resources):
        self.objects, self.clients, self.resources = objects, clients, resources
        self.owed, self.owed_by = {}, {}
        self.announced = []
        self.free_places = []
        self.index_of = {}
        self.forgotten = []
        self.next_number = 1
        self.gone = _deque()
        memset(&self.gone_counts, 0, sizeof(FunctionCounts))

    def __dealloc__(self):
        cdef uint32_t index
        for index in range(self.length):
            free(self.functions[index].counts.histograms)
        free(self.gone_counts.histograms)
        free(self.functions)

    cdef object find(self, bytes digest, int flags, uint32_t request):
        """The function's index, or None if nobody has announced it. One that carries objects, whose bytes nobody has
        checked, is never taken for one that does not."""
        return self.index_of.get((digest, flags & KEY_FLAGS, request))

    cdef uint32_t add(self, bytes digest, int flags, bytes payload, uint32_t request) except? 0:
        """A new function's index. It has no users yet."""
        cdef uint32_t index
        cdef Announced announced = Announced.__new__(Announced)
        announced.digest, announced.payload, announced.flags, announced.workers = digest, payload, flags, []
        if self.free_places:
            index = self.free_places.pop()
            self.announced[index] = announced
        else:
            index = <uint32_t>len(self.announced)
            self.make_room(index)
            self.announced.append(announced)
            self.length = index + 1
        memset(&self.functions[index], 0, sizeof(Function))
        self.functions[index].floor_ns = CREDIT_NS
        self.functions[index].number = self.next_number
        self.next_number += 1
        self.functions[index].request = request
        if request:
            self.resources.use_request(request)
        self.index_of[digest, flags & KEY_FLAGS, request] = index
        return index

    cdef int make_room(self, uint32_t index) except -1:
        cdef Function *functions
        if index >= self.room:
            functions = <Function *>realloc(self.functions, (self.room * 2 + 64) * sizeof(Function))
            if functions == NULL:
                raise MemoryError("no memory for another function")
            self.functions = functions
            self.room = self.room * 2 + 64
        return 0

    cdef uint64_t bytes_of(self, uint32_t index):
        """What it takes, whoever else has announced it too."""
        return (FUNCTION_BYTES + <uint64_t>len((<Announced>self.announced[index]).payload)
                + (REQUEST_BYTES if self.functions[index].request else 0))

    cdef bint is_owed(self, uint32_t index, uint32_t client):
        """Whether it counts to the client, which has forgotten it."""
        return client in self.owed.get(index, ())

    cdef int count_anew(self, uint32_t index, uint32_t client) except -1:
        """The client has announced it again: it counts to it for that, from now on."""
        self.owed[index].discard(client)
        self.owed_by[client].discard(index)
        return 0

    cdef int let_go_of_announced(self, uint32_t index, uint32_t client) except -1:
        """The client has forgotten it, to which it counts: that ends now, or with its last user."""
        cdef uint64_t n_bytes = self.bytes_of(index)
        if self.functions[index].users > 1 and not self.clients.clients[client].leaving and not self.is_owed(index, client):
            self.owed.setdefault(index, set()).add(client)
            self.owed_by.setdefault(client, set()).add(index)
        else:
            self.clients.clients[client].function_bytes -= n_bytes
        self.let_go(index)
        return 0

    cdef int on_client_left(self, uint32_t client) except -1:
        """Nothing counts to it any more that it had forgotten."""
        for index in self.owed_by.pop(client, ()):
            self.owed[index].discard(client)
            self.clients.clients[client].function_bytes -= self.bytes_of(<uint32_t>index)
        return 0

    cdef inline FunctionCounts *counts_of(self, uint32_t index) noexcept nogil:
        """What is counted of this function's calls."""
        return &self.functions[index].counts

    cdef inline uint32_t number_of(self, uint32_t index) noexcept nogil:
        """What the function of a row is known by; 0 if the row has none any more."""
        return 0 if index == NO_FUNCTION else self.functions[index].number

    cdef inline void use(self, uint32_t index) noexcept nogil:
        self.functions[index].users += 1

    cdef inline void let_go(self, uint32_t index) noexcept nogil:
        """One of its users needs it no more."""
        self.functions[index].users -= 1
        if self.functions[index].users == 0:
            self.forget_unused(index)

    cdef void forget_unused(self, uint32_t index) noexcept nogil:
        with gil:                                     # with no memory for this it stays known, though nobody uses it
            self.forget(index)

    cdef int forget(self, uint32_t index) except -1:
        cdef Announced announced = self.announced[index]
        self.keep_counts(index, announced)
        cdef tuple key = (announced.digest, announced.flags & KEY_FLAGS, self.functions[index].request)
        for client in self.owed.pop(index, ()):
            self.owed_by[client].discard(index)
            self.clients.clients[<uint32_t>client].function_bytes -= self.bytes_of(index)
        self.forgotten.append((index, self.functions[index].number, announced.workers))
        self.has_forgotten = True
        del self.index_of[key]
        if self.functions[index].request:
            self.resources.let_go_of_request(self.functions[index].request)
        self.announced[index] = None
        if announced.flags & FLAG_OBJECTS:
            self.objects.drop_record(PyBytes_AS_STRING(announced.payload), len(announced.payload))
        return 0

    cdef void add_histograms(self, uint32_t index) noexcept nogil:
        """The function has been run: it has histograms from now on, unless too many have."""
        if self.with_histograms < MOST_HISTOGRAMS:
            self.functions[index].counts.histograms = <FunctionHistograms *>calloc(1, sizeof(FunctionHistograms))
            self.with_histograms += self.functions[index].counts.histograms != NULL

    cdef int keep_counts(self, uint32_t index, Announced announced) except -1:
        """The function goes. The last ones that were called are shown for a while; others are summed up."""
        cdef FunctionCounts *counts = &self.functions[index].counts
        cdef GoneFunction gone
        if counts.submitted:
            gone = GoneFunction.__new__(GoneFunction)
            gone.number = self.functions[index].number
            gone.payload = announced.payload if len(announced.payload) <= MOST_GONE_BYTES else b""
            memcpy(&gone.counts, counts, sizeof(FunctionCounts))
            counts.histograms = NULL
            self.gone.append(gone)
            if len(self.gone) > MOST_GONE:
                gone = self.gone.popleft()
                self.with_histograms -= gone.counts.histograms != NULL
                add_function_counts(&self.gone_counts, &gone.counts)
        else:
            self.with_histograms -= counts.histograms != NULL
            free(counts.histograms)
        memset(counts, 0, sizeof(FunctionCounts))
        return 0

    cdef inline void note_duration(self, uint32_t index, uint64_t duration_ns) noexcept nogil:
        cdef Function *function = &self.functions[index]
        if function.mean_ns == 0:
            function.mean_ns = duration_ns
        else:
            function.mean_ns = (function.mean_ns * 7 + duration_ns) // 8
        if function.mean_ns < LEAST_TASK_NS:
            function.mean_ns = LEAST_TASK_NS
        if duration_ns < QUICK_NS:
            function.floor_ns = max(function.floor_ns // 2, <uint32_t>LEAST_TASK_NS)
