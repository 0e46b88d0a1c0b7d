# Supplies: results that a client hands in for tasks that came too late for them.
#
# A task that names a future of the same client is sent while that is open, as far as the client knows. If it has ended in
# the meantime, the scheduler has forgotten its result, or never had it (it is another scheduler by now); so once the
# client has it, it hands it in. How many dependants the scheduler has served stands in the result's record.
#
# Rule 1: a future's dependants are those that were sent to the scheduler there is now.
# Rule 2: nothing is packed in the role of the leader: the client's own thread does it, also while a callback waits there.
# Rule 3: packing one waits for no record in progress: the stack of who waits for the dependant may hold that
#         (scaler/client/objects.py).
# Not here: who waits for whom in the scheduler (native/scheduler/edges.pyx).

@cython.final
cdef class Supplies:
    """Futures of one client that are done and have dependants."""
    cdef object waiting

    def __cinit__(self):
        self.waiting = _collections.deque()

    cdef int note_dependant(self, ClientRings client, PendingFuture future, list inputs) except -1:
        """`future` (None for one that nobody waits for) was sent naming these, which were open a moment ago."""
        cdef PendingFuture one
        if future is not None and future.state == FUTURE_PENDING:
            future.inputs = inputs
        for one in inputs:
            if one.dependants is None:
                one.dependants = []
            one.dependants.append(future)
            if one.state != FUTURE_PENDING:           # it was not open any more: nobody has counted this one
                one.served = 0
                self.add(client, one)
        return 0

    cdef int add(self, ClientRings client, PendingFuture future) except -1:
        """This one is done and has dependants: the client's own thread sees to those that came too late."""
        self.waiting.append(future)
        client.watched_event.set()
        return 0

    cdef int hand_in_all(self, ClientRings client) except -1:
        """What the scheduler may have forgotten when a dependant came. For the client's own thread."""
        cdef PendingFuture future
        cdef list dependants
        while self.waiting and client.lost is None and client.shore == ASHORE:
            try:
                future = self.waiting.popleft()
            except IndexError:
                return 0
            dependants, future.dependants = future.dependants, None      # who comes meanwhile has it handed in again
            if dependants is not None and future.served < <uint32_t>len(dependants):
                self.hand_in(client, future)
        return 0

    cdef int hand_in(self, ClientRings client, PendingFuture future) except -1:
        cdef object packed
        cdef bytes payload
        cdef int flags = FLAG_INPUTS
        if future.state == FUTURE_CANCELLED:
            packed = pack_supply(STATUS_REFUSED) + b"one of its inputs was cancelled"
        else:
            packed = client.pack_value(future, client.channel.tasks.largest_payload())
        if type(packed) is bytes:
            self.say(client, future.task_id, flags, packed)
            return 0
        try:
            flags |= packed.flags
            payload = packed.payload
            if self.say(client, future.task_id, flags, payload):
                packed.is_written = True
                client.known.note(payload, flags)
        finally:
            packed.end()
        return 0

    cdef bint say(self, ClientRings client, uint64_t task, int flags, bytes payload) except -1:
        """False if the scheduler has gone: the next one will be told which are wanted."""
        while client.shore == ASHORE:
            if client.channel.put(KIND_TASK, flags, 0, task, 0, 0, None, payload):
                return True
            client.wait_for_room()
        return False
