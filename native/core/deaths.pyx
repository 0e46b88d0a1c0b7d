# Deaths: tasks whose worker has died once too often, until it is known how it died.
#
# The scheduler sees a death as soon as the kernel does; what is to be said of it (signal, memory, last output) is known
# to the supervisor, whose report takes a few milliseconds more. Running a task again needs no report. Only one that is
# not run again waits here, in ROW_DOOMED, for DEATH_WAIT_NS at most; then it is told what is known.
#
# What is known is a dict that the shell hands in; the client gets it as JSON, with `tries`.
#
# Rule 1: a row is here if and only if it is ROW_DOOMED.
# Not here: which death is one too many (core), what the facts are (scaler.cluster.autopsy), what is made of them
# (scaler.died).

import json as _json

cdef enum:
    DEATH_WAIT_NS = 1000000000


@cython.final
cdef class Deaths:
    cdef TaskTable table
    cdef Answers answers
    cdef dict waiting          # tag of the worker -> (until when, what is known, indices of rows)

    def __cinit__(self, TaskTable table, Answers answers):
        self.table, self.answers = table, answers
        self.waiting = {}

    cdef int doom(self, uint64_t tag, uint32_t row_index, facts, uint64_t now) except -1:
        """This worker's death was the last that the task may have. It is in no list, and no worker's."""
        self.table.row(row_index).state = ROW_DOOMED
        self.waiting.setdefault(tag, (now + DEATH_WAIT_NS, facts, []))[2].append(row_index)
        return 0

    cdef int save(self, uint32_t row_index) except -1:
        """Nobody wants to know of this one any more."""
        for tag, (_, _, rows) in list(self.waiting.items()):
            if row_index in rows:
                rows.remove(row_index)
                if not rows:
                    del self.waiting[tag]
        return 0

    cdef int on_told(self, uint64_t tag, facts) except -1:
        """More is known of a worker's death, and no more will come."""
        known = self.waiting.pop(tag, None)
        if known is not None:
            for row_index in known[2]:
                self.tell(row_index, {**known[1], **facts})
        return 0

    cdef int on_tick(self, uint64_t now) except -1:
        """Whoever has waited long enough is told what is known."""
        for tag, (until, _, _) in list(self.waiting.items()):
            if now >= until:
                self.on_told(tag, {})
        return 0

    cdef int tell(self, uint32_t row_index, dict facts) except -1:
        cdef bytes payload = _json.dumps({**facts, "tries": self.table.row(row_index).deaths}, ensure_ascii=False).encode()
        self.answers.answer_data(row_index, STATUS_WORKER_DIED, PyBytes_AS_STRING(payload), <uint32_t>len(payload))
        return 0
