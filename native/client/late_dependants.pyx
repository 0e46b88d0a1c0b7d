# LateDependants: results that a client hands in for tasks that came too late for them.
#
# A task that names a future of the same client is sent while that future is open, as far as the client knows. If the
# future has ended in the meantime, the scheduler has forgotten its result, or never had it (it is another scheduler by
# now). So once the client has the result, it hands it in. How many dependants the scheduler has served stands in the
# result's record.
#
# Rule 1: a future's dependants are those that were sent to the scheduler there is now.
# Rule 2: a leader packs nothing: the client's background thread does it, also while a callback waits there.
# Rule 3: packing a result waits for no record in progress, since that record's thread may be the one that waits for the
#         dependant (scaler/client/objects.py).
# Not here: which task waits for which in the scheduler (native/scheduler/edges.pyx).

@cython.final
cdef class LateDependants:
    """Futures of one client that are done and have dependants."""
    cdef WakeUp background          # wakes the client's background thread
    cdef object waiting
    cdef object pack_result         # of the client's objects; None before it has them, and after it has left

    def __cinit__(self, WakeUp background not None):
        self.background, self.waiting = background, _collections.deque()

    cdef int note_dependant(self, PendingFuture future, list inputs) except -1:
        """`future` (None for a task that has none) was sent naming these inputs, which were open a moment ago."""
        cdef PendingFuture one
        if future is not None and future.state == FUTURE_PENDING:
            future.inputs = inputs
        for one in inputs:
            if one.dependants is None:
                one.dependants = []
            one.dependants.append(future)
            if one.state != FUTURE_PENDING:           # it was not open any more: no scheduler has counted this dependant
                one.served = 0
                self.add(one)
        return 0

    cdef int add(self, PendingFuture future) except -1:
        """This future is done and has dependants: the background thread sees to those that came too late."""
        self.waiting.append(future)
        self.background.set()
        return 0

    cdef int hand_in_all(self, ClientRings rings) except -1:
        """Hand in what the scheduler may have forgotten when a dependant came. For the background thread."""
        cdef PendingFuture future
        cdef list dependants
        while self.waiting and rings.connection.lost is None and rings.connection.state == CONNECTED:
            try:
                future = self.waiting.popleft()
            except IndexError:
                return 0
            dependants, future.dependants = future.dependants, None      # for one that comes meanwhile it is done again
            if dependants is not None and future.served < <uint32_t>len(dependants):
                self.hand_in(rings, future)
        return 0

    cdef int hand_in(self, ClientRings rings, PendingFuture future) except -1:
        cdef object packed
        cdef bytes payload
        cdef int flags = FLAG_INPUTS
        if future.state == FUTURE_CANCELLED:
            packed = pack_supply(STATUS_REFUSED) + b"one of its inputs was cancelled"
        else:
            packed = self.pack_result(future, rings.connection.channel.tasks.largest_payload())
        if type(packed) is bytes:
            self.write(rings, future.task_id, flags, packed)
            return 0
        try:
            flags |= packed.flags
            payload = packed.payload
            if self.write(rings, future.task_id, flags, payload):
                packed.is_written = True
                rings.known.note(payload, flags)
        finally:
            packed.end()
        return 0

    cdef bint write(self, ClientRings rings, uint64_t task, int flags, bytes payload) except -1:
        """False if the scheduler has gone: the next one will be told which results are wanted."""
        while rings.connection.state == CONNECTED:
            if rings.connection.channel.put(KIND_TASK, flags, 0, task, 0, 0, None, payload):
                return True
            rings.wait_for_room()
        return False
