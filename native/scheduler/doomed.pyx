# Doomed tasks: their worker has died once too often, and they wait until it is known how it died.
#
# The scheduler sees a death as soon as the kernel does; what is to be said of it (signal, memory, last output) is known
# to the supervisor, whose report takes a few milliseconds more. Running a task again needs no report. Only one that is
# not run again waits here, in ROW_DOOMED, for DEATH_WAIT_NS at most; then it is told what is known.
#
# What is known is the text of a JSON object, which the shell has checked and bounded (scaler.values.death_facts); nobody here
# looks into it, so whatever a peer says of a death cannot make the event fail in which it is told. The client gets it
# with one key more, `tries`.
#
# Rule 1: a row is here if and only if it is ROW_DOOMED; its `position` is then the tag of the worker that has died.
# Not here: which death is one too many (core), what the facts are (scaler.values.death_facts), what is made of them
# (scaler.values.died).

from libc.stdio cimport snprintf

cdef enum:
    DEATH_WAIT_NS = 1000000000
    TRIES_BYTES = 24           # more than `, "tries": 255}` takes


@cython.final
cdef class Deaths:
    cdef TaskTable table
    cdef Answers answers
    cdef dict waiting          # tag of the worker -> (until when, what is known, indices of rows)

    def __cinit__(self, TaskTable table, Answers answers):
        self.table, self.answers = table, answers
        self.waiting = {}

    cdef void doom(self, uint64_t tag, uint32_t row_index, bytes facts, uint64_t now) noexcept:
        """This worker's death was the last that the task may have. It is in no list, and no worker's."""
        try:
            self.waiting.setdefault(tag, (now + DEATH_WAIT_NS, facts, []))[2].append(row_index)
        except MemoryError:
            self.tell(row_index, facts)
        else:
            self.table.move(self.table.row(row_index), EVENT_IS_DOOMED)
            self.table.row(row_index).position = tag

    cdef void save(self, uint32_t row_index) noexcept nogil:
        """Nobody wants to know of this one any more. The caller ends it."""
        with gil:                                     # with no memory for this it stays in a list, where it is passed over
            self.forget(row_index)

    cdef int forget(self, uint32_t row_index) except -1:
        cdef uint64_t tag = self.table.row(row_index).position
        cdef list rows = self.waiting[tag][2]
        rows.remove(row_index)
        if not rows:
            del self.waiting[tag]
        return 0

    cdef int on_told(self, uint64_t tag, bytes facts) except -1:
        """No more will be known of a worker's death than this, or with None, than what is known already."""
        known = self.waiting.pop(tag, None)
        if known is not None:
            for row_index in known[2]:
                if self.table.is_in(row_index, ROW_DOOMED) and self.table.row(row_index).position == tag:
                    self.tell(row_index, known[1] if facts is None else facts)
        return 0

    cdef int on_tick(self, uint64_t now) except -1:
        """Clients that have waited long enough are told what is known."""
        for tag, (until, _, _) in list(self.waiting.items()):
            if now >= until:
                self.on_told(tag, None)
        return 0

    cdef void tell(self, uint32_t row_index, bytes facts) noexcept:
        cdef Py_ssize_t size = max(len(facts) - 1, 1)  # without the bracket at the end
        cdef char *text = <char *>malloc(size + TRIES_BYTES)
        if text == NULL:
            self.answers.answer_data(row_index, STATUS_WORKER_DIED, b"", 0)
            return
        memcpy(text, PyBytes_AS_STRING(facts), size)
        size += snprintf(text + size, TRIES_BYTES, b'%s"tries": %u}', <char *>b", " if size > 1 else <char *>b"",
                         <unsigned int>self.table.row(row_index).deaths)
        self.answers.answer_data(row_index, STATUS_WORKER_DIED, text, <uint32_t>size)
        free(text)
