# Connection: the scheduler at the other end of a client's rings: whether there is one, and what it says besides results.
#
#   CONNECTED   there is a scheduler, and it knows all that is open
#   LOST        the scheduler has gone, and another one is looked for
#   RESENDING   there is another one, which is being told what is open (resend)
#
# Rule 1: only while CONNECTED does a call write into a ring. Otherwise what is open stays open, and a call that has
#         something to say waits. While RESENDING only resend writes.
# Rule 2: once `lost` is set the client is over: it is an exception, and every call raises the like of it.
# Not here: what happens when a scheduler goes (client), looking for another (scaler/client/reconnect.py).

cdef enum:
    CONNECTED = 0
    LOST = 1
    RESENDING = 2


@cython.final
cdef class Connection:
    cdef Channel channel                 # to the scheduler that there is now
    cdef readonly int state
    cdef readonly object lost            # the exception that every call raises from now on; None while it can be used
    cdef readonly bytes farewell         # why the scheduler has gone for good, if it has said so
    cdef readonly uint64_t worker_count  # how many workers the scheduler has, as far as it has said
    cdef bint abandoned                  # in a forked child: the rings are the parent's
    cdef uint64_t callers                # calls that wait for a scheduler, besides those that wait for open futures
    cdef object answers                  # control records from the scheduler that answer a client's
    cdef readonly dict heard             # kinds of other control records -> what takes the payload, in whichever thread
    cdef object run_here                 # tasks that the scheduler wants run in this very process (worker_client)

    def __cinit__(self, Channel channel not None):
        self.channel = channel
        self.answers, self.heard, self.run_here = _collections.deque(), {}, _collections.deque()

    @property
    def is_connected(self):
        """Whether there is a scheduler that knows all that is open."""
        return self.state == CONNECTED

    cdef inline int check(self) except -1:
        """Raise what every call raises from now on, if there is such."""
        if self.lost is not None:
            raise anew(self.lost)
        return 0

    cdef void end(self, error):
        """The client is over, with this error."""
        self.lost = error
        self.state = CONNECTED           # nobody waits for another scheduler

    cdef void begin_resending(self, Channel channel):
        """There is another scheduler, behind this channel. What the last one has said means nothing any more."""
        self.channel = channel
        self.answers.clear()
        self.run_here.clear()
        self.worker_count = 0
        self.state = RESENDING

    cdef bint has_gone(self) except -1:
        """Whether the scheduler has gone, and nobody has noticed so far."""
        return self.lost is None and self.state != LOST and self.channel.has_hung_up()

    cdef int read_control(self, KnownObjects known) except -1:
        """Read what the scheduler says besides results."""
        cdef Ring down = self.channel.down
        if self.abandoned:
            return 0
        while True:
            said = down.read()
            if said is None:
                if down.take_producer_waits():
                    self.channel.tell()
                return 0
            if said.kind == KIND_WORKERS:
                self.worker_count = said.items
            elif said.kind == KIND_FREED:
                known.freed.append(said.payload)
            elif said.kind == KIND_GOODBYE:
                self.farewell = said.payload
            elif said.kind == KIND_RUN_HERE:
                self.run_here.append(said.task)
            elif said.kind in self.heard:
                self.heard[said.kind](said.payload)
            else:
                self.answers.append(said)
