# TaskSender: how a client's calls become records in its submit ring, and futures.
#
# Rule 1: between the finding of room and the committing of a record no code of Python's runs, so that the room stays this
#         record's, and ids stand in the ring in their order.
# Rule 2: what a record names is noted when the record is written, not before: it may have to wait for room, or for
#         another scheduler, which knows nothing.
# Not here: graphs (graph_sender), what a task may keep with itself (worker_client), functions and pickling
# (scaler/client).

cdef extern from *:
    """
    static inline PyObject *scaler_new_object(PyObject *type, PyObject *no_arguments) {
        return ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, no_arguments, NULL);
    }
    """
    object new_object "scaler_new_object"(object type, object no_arguments)


cdef class TaskSender:
    """Of one client. `future_class` is what the futures of its calls are."""
    cdef readonly ClientRings rings
    cdef Connection connection
    cdef OpenFutures open
    cdef KnownObjects known
    cdef Mappings mappings
    cdef Notifier notifier
    cdef object future_class
    cdef int more_flags             # on every task of this client
    cdef TaskOptions options        # of every task that brings none

    def __init__(self, ClientRings rings not None, future_class not None, *, bint profiling=False, bint streams_output=False,
                 TaskOptions options=None):
        self.rings, self.connection, self.open, self.known = rings, rings.connection, rings.open, rings.known
        self.mappings, self.notifier, self.future_class = rings.mappings, rings.notifier, future_class
        self.more_flags = (FLAG_PROFILE if profiling else 0) | (FLAG_OUTPUT if streams_output else 0)
        self.options = TaskOptions() if options is None else options

    # calls

    def submit(self, uint32_t function, tuple args, dict kwargs, dumps, TaskOptions options=None):
        """Send one call; its future. `dumps(value, most bytes)` packs what is not plain."""
        cdef char small[256]
        cdef uint32_t size = 0
        cdef int flags = 0
        cdef object payload
        self.connection.check()
        if not kwargs:
            size = plain_tuple(small, args)
            if size:
                return self.send(function, PyBytes_FromStringAndSize(small, size), 0, 0, None, None, options)
            payload = dumps(args, self.connection.channel.tasks.largest_payload())
        else:
            payload = dumps((args, kwargs), self.connection.channel.tasks.largest_payload())
            flags = FLAG_KEYWORDS
        return self.send_packed(function, payload, flags, 0, None, options)

    def submit_chunk(self, uint32_t function, list calls not None, Py_ssize_t first, Py_ssize_t most,
                     MapProgress progress not None, begin, TaskOptions options=None, bint bare=False):
        """Send up to `most` calls, from calls[first] on, in one record. Their future; its `items` says how many.

        A call is the tuple of its arguments; if they are `bare`, its only argument itself. `begin()` gives the parcel
        that what is not plain is packed with.
        """
        cdef Py_ssize_t n
        cdef size_t most_bytes = self.connection.channel.tasks.largest_payload() // 2
        cdef object payload
        self.connection.check()
        cdef ByteBuffer out = ByteBuffer()
        n = pack_plain_calls(out, calls, first, most, most_bytes, bare)
        if n:
            payload = PyBytes_FromStringAndSize(out.start, out.size)
            return self.send(function, payload, FLAG_CHUNK | FLAG_PLAIN, <uint32_t>n, progress, None, options)
        parcel = begin()
        n = pack_calls(out, calls, first, most, most_bytes, parcel, bare)
        payload = parcel.finish(PyBytes_FromStringAndSize(out.start, out.size),
                                self.connection.channel.tasks.largest_payload())
        return self.send_packed(function, payload, FLAG_CHUNK, <uint32_t>n, progress, options)

    def submit_piece(self, uint32_t function, bytes piece not None, MapProgress progress not None, begin,
                     TaskOptions options=None):
        """Send a task whose argument is these bytes, and of whose end `progress` hears; its future."""
        cdef uint32_t size
        if len(piece) > 0x7FFFFFFF:
            raise OverflowError(f"a piece of {len(piece)} bytes")
        size = <uint32_t>len(piece)
        self.connection.check()                       # the pickle of (piece,): what is in it is not looked at
        payload = begin().finish(b"\x80\x05B" + (<char *>&size)[:4] + piece + b"\x85.",
                                 self.connection.channel.tasks.largest_payload())
        return self.send_packed(function, payload, 0, 0, progress, options)

    def submit_named(self, uint32_t function, bytes arguments not None, begin, TaskOptions options=None):
        """Send one call of a named function, whose arguments are these bytes; its future."""
        cdef object payload = arguments
        self.connection.check()
        if <size_t>len(arguments) > self.connection.channel.tasks.largest_payload():
            payload = begin().finish(arguments, self.connection.channel.tasks.largest_payload())
        return self.send_packed(function, payload, 0, 0, None, options)

    cdef object send_packed(self, uint32_t function, payload, int flags, uint32_t items, MapProgress progress,
                            TaskOptions options):
        """Send what may name objects."""
        if type(payload) is bytes:
            return self.send(function, payload, flags, items, progress, None, options)
        try:
            return self.send(function, payload.payload, flags | payload.flags, items, progress, payload, options)
        finally:
            payload.end()

    cdef object send(self, uint32_t function, bytes payload, int flags, uint32_t items, MapProgress progress, packed,
                     TaskOptions options):
        """Send a task, and return its future. `packed` is what it names besides its payload, or None."""
        cdef PendingFuture future
        if self.mappings.given_back.length:
            self.rings.upkeep.say_given_back(self.rings)
        future = new_object(self.future_class, ())
        PyObject_GC_UnTrack(<void *>future)
        future.client = self.rings
        future.function = function
        future.items = items
        future.progress = progress
        future.flags = <uint8_t>(flags | self.more_flags)
        future.options = self.options if options is None else options
        payload = self.place(future, payload, packed)
        if packed is not None:
            self.note_written(packed, payload, future)
        self.notifier.wake_resting()
        self.look_now_and_then()
        return future

    cdef bytes place(self, PendingFuture future, bytes payload, packed):
        """Put the task where it is found: in the submit ring. Its payload as it stands there."""
        return self.write(future, payload, 0)

    cdef bytes write(self, PendingFuture future, bytes payload, uint32_t detail):
        """Write the task's record once there is room for it. Its payload as it stands there."""
        cdef int flags = future.flags
        while True:
            if self.connection.state != CONNECTED:
                self.rings.wait_connected()
                continue
            future.payload = payload = self.known.named(payload, flags)
            self.open.make_place()
            if self.connection.channel.has_room(<uint32_t>len(payload)):
                break
            self.rings.wait_for_room()
        # No Python call from here to commit: that there is room must stay so.
        future.task_id = self.rings.bits | self.open.next_number
        self.open.add(future)
        self.connection.channel.put(KIND_TASK, flags, future.function, future.task_id, future.items, detail, future.options,
                                    payload)
        return payload

    cdef int note_written(self, packed, bytes payload, PendingFuture future) except -1:
        """The record of what was packed is in the ring; `future` is None for a task that has none."""
        packed.is_written = True
        self.known.note(payload, packed.flags)
        if packed.flags & FLAG_INPUTS:
            self.rings.late.note_dependant(future, packed.inputs)
        return 0

    cdef inline int look_now_and_then(self) except -1:
        """Take results while tasks are sent, before their ring is full."""
        if not self.open.next_number & 255 or self.connection.channel.is_half_full():
            self.rings.look()
        return 0

    # futures of what is not sent

    def done_with(self, value):
        """The future of what was there before it began."""
        return self.ended(FUTURE_DONE, value)

    def ended_as(self, PendingFuture other not None):
        """The future of what was over before it began, since `other`, which it needs, has failed or was cancelled."""
        return self.ended(other.state if other.state == FUTURE_CANCELLED else FUTURE_FAILED, other)

    cdef object ended(self, uint8_t state, object value):
        cdef PendingFuture future = new_object(self.future_class, ())
        future.client = self.rings
        self.open.make_place()
        future.task_id = self.rings.bits | self.open.next_number
        self.open.next_number += 1
        if state == FUTURE_CANCELLED:
            value = f"task {(<PendingFuture>value).task_id:#x}, whose result it needs, was cancelled"
        if state == FUTURE_FAILED and (<PendingFuture>value).state == FUTURE_FAILED:
            value = (<PendingFuture>value).value          # so that no chain of them gets long
        future.value = value
        future.state = state
        return future

    # functions

    @property
    def most_function_bytes(self):
        """The largest payload that `announce` can take."""
        return self.connection.channel.up.largest_payload() - 16

    def announce(self, uint32_t function, bytes digest not None, bytes payload not None, int flags=0):
        """Send a function's bytes under a number of this client, once, before the first task that names it."""
        while True:
            if self.connection.state != CONNECTED:
                self.rings.wait_connected()
                continue
            self.connection.check()
            payload = self.known.named(payload, flags)
            if self.connection.channel.say(KIND_FUNCTION, 0, digest + payload, function, flags):
                break
            self.rings.wait_for_control_room()
        self.rings.functions.note(function, digest, payload, flags)
        self.known.note(payload, flags)

    def forget_function(self, uint32_t function):
        """Say that no task will name this function any more. False if there is no room for it just now.

        Between the tasks, so that it comes after those that name it, and waits with them while the scheduler has enough.
        """
        if self.connection.lost is not None:
            return True
        if self.connection.state != CONNECTED or not self.may_forget(function):
            return False
        if not self.connection.channel.put(KIND_FORGET, 0, function, 0, 0, 0, None, b""):
            return False
        self.rings.functions.forget(function, self.open, self.rings.graphs_begun)
        return True

    cdef bint may_forget(self, uint32_t function) except -1:
        """Whether no task that was not sent yet may name it."""
        return True

    # graphs

    def begin_graph(self, TaskOptions options=None):
        """What sends the nodes of one graph; its `end` has to be called whatever happens."""
        return GraphSender(self, SentGraph(self.options if options is None else options))
