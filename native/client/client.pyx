# ClientRings: a client's side of its rings: submit, take results, wait.
#
# There is no receiver thread in the fast case: the thread that waits takes the results. One thread at a time has the role
# of the leader: it sleeps on the client's bell until its own future is done, then hands the role on; the others sleep on
# their future's condition.
#
# Other people's code may run in the middle of nearly anything: the handler of a signal, a finalizer, a tracing function,
# an audit hook. It may call the client, and wait for a task, on the stack of whatever it has interrupted. So
# everything here happens under the GIL, in steps of which each leaves things as they should be:
#
# Rule 1: results are taken off the ring in one step (`take_results`), in which nobody's code but ours runs. When it is
#         over, each result is its future's, or is noted where any thread finds it (`arrived`).
# Rule 2: the role is held while a thread looks for news without the GIL, and never while others' code runs: that may
#         need a leader. So callbacks never run in the role, and whoever returns from others' code looks at everything
#         anew: results, the role, the channel.
# Rule 3: a future is done at once, whoever looks at it. But its condition may be held by who waits for us, or below us on
#         this very stack: so nobody waits for a condition in order to tell who looks, and nobody tells while it is held.
#         To these the future is still running until they are told, a moment later (`finish_late`).
# Rule 4: who waits for room in the submit ring drains results meanwhile, else both sides could wait for each other.
# Rule 5: who waits for what cannot come before he has waited is told so (RuntimeError): for a task that runs below on his
#         own stack (nested), or in a thread that tasks need to get on (own_threads, check_standard_wait).
# Rule 6: while the scheduler is gone (`shore`) nobody writes into a ring: what is open stays open, who has something to
#         say waits until all that is open has been said to another scheduler (resend).

import time as _time

cdef extern from *:
    """
    static inline PyObject *scaler_new_object(PyObject *type, PyObject *no_arguments) {
        return ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, no_arguments, NULL);
    }
    """
    object new_object "scaler_new_object"(object type, object no_arguments)

cdef extern from "Python.h":
    int PyGC_Disable()
    int PyGC_Enable()

cdef enum:
    MOST_SAID_CANCELS = 1000

cdef double TEND_S = 0.5     # how often a client without tasks looks after its objects
cdef double IDLE_S = 1.0     # how often one without objects looks whether its scheduler is still there
cdef double UNSAID_S = 0.01  # how often while there is something that it had no room to say

cdef enum:
    ASHORE = 0
    ADRIFT = 1               # the scheduler is gone
    LANDING = 2              # there is another one, which is being told what is open


cdef int ms_until(uint64_t deadline, int most) noexcept nogil:
    """Milliseconds until then, rounded up."""
    cdef uint64_t now = now_ns()
    if deadline <= now:
        return 0
    return min(most, <int>min((deadline - now) // 1000000 + 1, <uint64_t>most))


cdef int notify(condition) except -1:
    """Wake who waits there, unless somebody holds it: who waits looks again by himself."""
    if condition.acquire(False):
        try:
            condition.notify_all()
        finally:
            condition.release()
    return 0


cdef bint is_any_busy(list waiters) except -1:
    """Whether somebody holds a lock of what the standard library waits with: telling it now would wait for that."""
    for waiter in waiters:
        for lock in (getattr(waiter, "lock", None), getattr(getattr(waiter.event, "_cond", None), "_lock", None)):
            if lock is not None and lock.locked():
                return True
    return False


cdef class ClientRings:
    cdef Channel channel            # to the scheduler there is now
    cdef readonly uint64_t bits
    cdef OpenFutures open
    cdef readonly object lost       # the exception that every call raises from now on
    cdef bint abandoned             # in a forked child: the rings are the parent's
    cdef readonly int shore         # whether there is a scheduler
    cdef uint64_t callers           # who waits for one, besides those who wait for open futures
    cdef readonly bytes farewell    # why the scheduler has gone for good
    cdef CallerFunctions functions  # what has been announced
    cdef list graphs_begun          # that are being sent
    cdef KnownObjects known
    cdef object said_cancels        # the last that were said: the scheduler may have died before it read them
    cdef object unsaid_cancels      # tasks that were cancelled while nobody could be told, or there was no room for it
    cdef bint leading               # a thread has the role
    cdef bint resting               # the client's own thread sleeps until something is open
    cdef object followers           # futures whose threads sleep, by arrival
    cdef object to_tell             # (future that is done, its quick callbacks), for the client's own thread
    cdef object to_call             # (future that is done, its other callbacks), for the thread that they have
    cdef readonly WakeUp call_event # set when there are such
    cdef public bint has_caller     # there is that thread
    cdef Supplies supplies
    cdef object arrived             # results that are objects, which are still to be found
    cdef object unfinished          # futures that are done, and those who look at them are still to be told
    cdef bint telling               # the client's own thread is at it
    cdef unsigned long own_thread   # the client's own: the one that calls back
    cdef public object pack_value   # what supplies are packed with
    cdef object answers             # control records from the scheduler
    cdef Store store
    cdef Mappings mappings
    cdef uint64_t next_trim_ns
    cdef object load, callback_error, watched_event, scheduler_gone
    cdef public object name_of      # what people call the function of a number
    cdef object future_class
    cdef int more_flags             # on every task of this client
    cdef TaskOptions options        # of every task that brings none
    cdef bint decode_plain          # plain results are unpickled as they are taken
    cdef Nest nest                  # of a worker's own client; else None
    cdef readonly uint64_t watched
    cdef readonly uint64_t worker_count
    cdef readonly uint64_t strays   # results of tasks that are not open: cancelled, or answered before

    def __init__(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot,
                 int bell_eventfd, int lifeline, uint32_t client_bits, future_class, Store store not None,
                 Mappings mappings not None, *, load, callback_error, watched_event, scheduler_gone,
                 bint decode_plain=True, bint profiling=False, TaskOptions options=None, Nest nest=None):
        self.channel = Channel(memory, doorbell, bell_memory, slot, bell_eventfd, lifeline)
        self.bits = (<uint64_t>client_bits) << TASK_NUMBER_BITS
        self.open = OpenFutures()
        self.functions, self.graphs_begun = CallerFunctions(), []
        self.unsaid_cancels, self.said_cancels = _collections.deque(), _collections.deque(maxlen=MOST_SAID_CANCELS)
        self.followers = _collections.deque()
        self.to_tell, self.to_call, self.call_event = _collections.deque(), _collections.deque(), WakeUp()
        self.supplies = Supplies()
        self.arrived, self.unfinished = _collections.deque(), _collections.deque()
        self.answers, self.known = _collections.deque(), KnownObjects(store)
        self.future_class = future_class
        self.load, self.callback_error, self.watched_event = load, callback_error, watched_event
        self.store, self.mappings = store, mappings
        self.scheduler_gone = scheduler_gone
        self.decode_plain, self.name_of = decode_plain, str
        self.more_flags = FLAG_PROFILE if profiling else 0
        self.options = TaskOptions() if options is None else options
        self.nest = nest

    def use(self, objects not None):
        """`objects` says which of the client's objects may be named again, and packs results that are handed in."""
        self.known.objects, self.pack_value = objects, objects.pack_result

    # submit

    def submit(self, uint32_t function, tuple args, dict kwargs, dumps, TaskOptions options=None):
        """Send one call; its future. `dumps(value, most bytes)` packs what is not plain."""
        cdef char small[256]
        cdef uint32_t size = 0
        cdef int flags = 0
        cdef object payload
        if self.lost is not None:
            raise anew(self.lost)
        if not kwargs:
            size = plain_tuple(small, args)
            if size:
                return self.send(function, PyBytes_FromStringAndSize(small, size), 0, 0, None, None, options)
            payload = dumps(args, self.channel.tasks.largest_payload())
        else:
            payload = dumps((args, kwargs), self.channel.tasks.largest_payload())
            flags = FLAG_KEYWORDS
        return self.send_packed(function, payload, flags, 0, None, options)

    def submit_chunk(self, uint32_t function, list calls not None, Py_ssize_t first, Py_ssize_t most,
                     MapProgress progress not None, begin, TaskOptions options=None):
        """Send up to `most` calls, from calls[first] on, in one record. Their future; its `items` says how many.

        `begin()` gives the parcel that what is not plain is packed with.
        """
        cdef Py_ssize_t n
        cdef size_t most_bytes = self.channel.tasks.largest_payload() // 2
        cdef object payload
        if self.lost is not None:
            raise anew(self.lost)
        cdef ByteBuffer out = ByteBuffer()
        n = pack_plain_calls(out, calls, first, most, most_bytes)
        if n:
            payload = PyBytes_FromStringAndSize(out.start, out.size)
            return self.send(function, payload, FLAG_CHUNK | FLAG_PLAIN, <uint32_t>n, progress, None, options)
        parcel = begin()
        n = pack_calls(out, calls, first, most, most_bytes, parcel)
        payload = parcel.finish(PyBytes_FromStringAndSize(out.start, out.size), self.channel.tasks.largest_payload())
        return self.send_packed(function, payload, FLAG_CHUNK, <uint32_t>n, progress, options)

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
        cdef uint32_t size = <uint32_t>len(payload)
        cdef Record *record
        cdef PendingFuture future
        cdef int child = -1
        cdef uint32_t detail = 0
        if self.mappings.given_back.length:
            self.say_given_back()
        future = new_object(self.future_class, ())
        PyObject_GC_UnTrack(<void *>future)
        future.client = self
        future.payload = payload
        future.function = function
        future.items = items
        future.progress = progress
        future.flags = <uint8_t>(flags | self.more_flags)
        future.options = self.options if options is None else options
        if self.nest is not None:
            detail = self.nest.origin.detail(len(self.nest.chain))
            future.options = self.nest.origin.inherit(future.options)
        while True:
            if self.shore != ASHORE:
                self.wait_ashore()
                continue
            future.payload = payload = self.known.named(payload, flags)
            size = <uint32_t>len(payload)
            self.open.make_place()
            if self.nest is not None and packed is None and size <= CHILD_MOST_PAYLOAD:
                child = self.nest.children.find_room()
            if child >= 0 or self.channel.has_room(size):
                break
            self.wait_for_room()
        # No Python call from here to commit: that there is room must stay so.
        future.task_id = self.bits | self.open.next_number
        self.open.add(future)
        if child < 0:
            self.channel.put(KIND_TASK, flags | self.more_flags, function, future.task_id, items, detail, future.options, payload)
        else:
            future.child = <uint16_t>(child + 1)
            record = self.nest.children.record(<uint32_t>child)
            record.record_bytes = RECORD_HEADER_BYTES + size
            fill_task(record, KIND_TASK, flags | self.more_flags, function, future.task_id, items, detail, future.options, payload)
            self.nest.children.offer(<uint32_t>child)
            full_fence()                              # SYNC POINT hungry
            if load_acquire32(&self.channel.bell.hungry):
                self.channel.tell()
        if packed is not None:
            self.note_written(packed, payload, future)
        if self.resting:
            self.resting = False
            self.watched_event.set()
        if not self.open.next_number & 255 or self.channel.is_half_full():
            self.look()
        return future

    cdef int note_written(self, packed, bytes payload, PendingFuture future) except -1:
        """The record of what was packed is in the ring; `future` is None for one that nobody waits for."""
        packed.is_written = True
        self.known.note(payload, packed.flags)
        if packed.flags & FLAG_INPUTS:
            self.supplies.note_dependant(self, future, packed.inputs)
        return 0

    # graphs

    def begin_graph(self, TaskOptions options=None):
        """A graph whose nodes `submit_node` is to send now; `graph_sent` has to be called whatever happens."""
        cdef SentGraph graph = SentGraph(self.options if options is None else options)
        self.graphs_begun.append(graph)
        return graph

    def graph_sent(self, SentGraph graph not None):
        """No more nodes will come."""
        graph.is_whole = True
        self.graphs_begun.remove(graph)

    def submit_node(self, SentGraph graph not None, uint32_t function, tuple args not None, list ids not None,
                    uint32_t promised, bint inner, dumps):
        """Send a task of a graph: `ids` are its inputs, InputSlots in `args` name them, and `promised` tasks will name it.

        Its future; or its id, if it is `inner`, since then nobody here hears of it. `dumps(args, most bytes, ids, promised,
        inner)` packs what is not plain.
        """
        cdef char small[256]
        cdef uint32_t size
        cdef object payload
        cdef int flags = FLAG_INPUTS if ids or promised or inner else 0
        if self.lost is not None:
            raise anew(self.lost)
        graph.make_place()
        size = write_template(small, args)
        if size:
            payload = PyBytes_FromStringAndSize(small, size)
            if flags:
                payload = pack_inputs(ids, <uint32_t>len(ids), promised, inner) + payload
            return self.send_node(graph, function, payload, flags, inner, None)
        payload = dumps(args, self.channel.tasks.largest_payload(), ids, promised, inner)
        if type(payload) is bytes:
            return self.send_node(graph, function, payload, flags, inner, None)
        try:
            return self.send_node(graph, function, payload.payload, flags | payload.flags, inner, payload)
        finally:
            payload.end()

    cdef object send_node(self, SentGraph graph, uint32_t function, bytes payload, int flags, bint inner, packed):
        cdef PendingFuture future
        if inner:
            return self.send_inner(graph, function, payload, flags, packed)
        future = self.send(function, payload, flags, 0, None, packed, graph.options)
        graph.note(future.task_id, function, flags | self.more_flags, payload, packed, future)
        if future.state == FUTURE_PENDING:
            future.graph = graph
        return future

    cdef object send_inner(self, SentGraph graph, uint32_t function, bytes payload, int flags, packed):
        """Send a task whose result is for other tasks only. Its id."""
        cdef uint64_t task
        if self.mappings.given_back.length:
            self.say_given_back()
        while True:
            if self.shore != ASHORE:
                self.wait_ashore()
                continue
            payload = self.known.named(payload, flags)
            task = self.bits | self.open.next_number
            if self.channel.put(KIND_TASK, flags | self.more_flags, function, task, 0, 0, graph.options, payload):
                break
            self.wait_for_room()
        self.open.next_number += 1
        graph.note(task, function, flags | self.more_flags, payload, packed, None)
        if packed is not None:
            self.note_written(packed, payload, None)
        if not self.open.next_number & 255 or self.channel.is_half_full():
            self.look()
        return task

    def give_up_node(self, uint64_t task):
        """No task will name this one any more, though it was said so. It ends if nobody else needs it."""
        cdef bytes payload = pack_give_up()
        while self.lost is None and self.shore == ASHORE:
            if self.channel.put(KIND_TASK, FLAG_INPUTS, 0, task, 0, 0, None, payload):
                return
            self.wait_for_room()

    def done_with(self, value):
        """The future of what was there before it began."""
        return self.ended(FUTURE_DONE, value)

    def ended_as(self, PendingFuture other not None):
        """The future of what was over before it began, since this one, which it needs, has failed or was cancelled."""
        return self.ended(other.state if other.state == FUTURE_CANCELLED else FUTURE_FAILED, other)

    cdef object ended(self, uint8_t state, object value):
        cdef PendingFuture future = new_object(self.future_class, ())
        future.client = self
        self.open.make_place()
        future.task_id = self.bits | self.open.next_number
        self.open.next_number += 1
        if state == FUTURE_CANCELLED:
            value = f"task {(<PendingFuture>value).task_id:#x}, whose result it needs, was cancelled"
        if state == FUTURE_FAILED and (<PendingFuture>value).state == FUTURE_FAILED:
            value = (<PendingFuture>value).value          # so that no chain of them gets long
        future.value = value
        future.state = state
        return future

    @property
    def page_count(self):
        """How many pages of futures there are, for tests."""
        return len(self.open.pages)

    @property
    def open_tasks(self):
        """How many futures are not done, as far as anybody has looked."""
        return self.open.count

    cdef inline PendingFuture forget(self, uint64_t task):
        """The open future of this task, which is open no more; None if there is none."""
        return self.open.take(task & NUMBER_MASK)

    @property
    def most_function_bytes(self):
        """The largest payload that `announce` can take."""
        return self.channel.up.largest_payload() - 16

    def announce(self, uint32_t function, bytes digest not None, bytes payload not None, int flags=0):
        """Send a function's bytes under a number of this client, once, before the first task that names it."""
        while True:
            if self.shore != ASHORE:
                self.wait_ashore()
                continue
            if self.lost is not None:
                raise anew(self.lost)
            payload = self.known.named(payload, flags)
            if self.channel.say(KIND_FUNCTION, 0, digest + payload, function, flags):
                break
            self.wait_for_control_room()
        self.functions.note(function, digest, payload, flags)
        self.known.note(payload, flags)

    def forget_function(self, uint32_t function):
        """Say that no task will name this function any more. False if there is no room for it just now.

        Between the tasks, so that it comes after those that name it, and waits with them while the scheduler has enough.
        """
        if self.lost is not None:
            return True
        if self.shore != ASHORE or (self.nest is not None and self.open.count):    # a child may name it still
            return False
        if self.nest is not None:
            self.nest.functions.pop(function, None)
        if not self.channel.put(KIND_FORGET, 0, function, 0, 0, 0, None, b""):
            return False
        self.functions.forget(function, self.open, self.graphs_begun)
        return True

    def control(self, int kind, uint64_t task=0, bytes payload=b"", uint32_t function=0, int flags=0):
        """Write one control record, waiting for room if need be."""
        while True:
            if self.lost is not None:
                raise anew(self.lost)
            if self.shore != ASHORE:
                self.wait_ashore()
            elif self.channel.say(kind, task, payload, function, flags):
                return
            else:
                self.wait_for_control_room()

    cdef int wait_for_room(self) except -1:
        """Let whoever reads what is submitted get on, and drain what comes back meanwhile."""
        if here_is_needed():
            refuse_to_wait()
        return self.let_get_on(self.channel, self.channel.tasks)

    cdef int wait_for_control_room(self) except -1:
        """The same for what is said besides."""
        if here_is_needed():
            refuse_to_wait()
        self.channel.tell()
        return self.let_get_on(self.channel, self.channel.up)

    cdef int let_get_on(self, Channel channel, Ring ring) except -1:
        cdef bint is_gone
        self.look()
        if self.lost is not None:
            raise anew(self.lost)
        is_gone = channel.wait_for_room(ring)
        PyErr_CheckSignals()
        if is_gone:
            self.check_scheduler()
        if self.lost is not None:                     # since then: the handler of a signal may have left
            raise anew(self.lost)
        return 0

    cdef int wait_ashore(self) except -1:
        """There is nobody to talk to: wait a moment for somebody."""
        if self.lost is not None:
            raise anew(self.lost)
        if here_is_needed():
            refuse_to_wait()
        self.callers += 1
        try:
            self.look()
            self.rest_adrift()
        finally:
            self.callers -= 1
        return 0

    cdef int rest_adrift(self) except -1:
        with nogil:
            poll(NULL, 0, 5)
        PyErr_CheckSignals()
        return 0

    def check_open(self):
        """Raise what every call raises from now on, if there is such."""
        if self.lost is not None:
            raise anew(self.lost)

    def check_scheduler(self):
        """See whether the scheduler has gone; end everything that is open if that is for good."""
        if self.lost is None and self.shore != ADRIFT and self.channel.has_hung_up():
            self.on_hang_up()
        if self.lost is not None and self.open.count:
            self.fail_all(self.lost)

    cdef int on_hang_up(self) except -1:
        """The lifeline says that the scheduler has gone: somebody looks for another, or everything is over."""
        cdef int shore = self.shore
        if self.lost is not None or shore == ADRIFT:
            return 0
        self.shore = ADRIFT
        if shore == LANDING:
            return 0                                  # whoever brought us here sees it
        self.look()
        self.read_down()
        error = self.scheduler_gone()
        if error is not None:
            self.on_lost(error)
        return 0

    @property
    def needs_scheduler(self):
        """Somebody waits for what only a scheduler can bring about."""
        return self.open.count > 0 or self.callers > 0

    # another scheduler

    def attach(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot, int bell_eventfd,
               int lifeline, str life not None, str folder not None):
        """There is another scheduler, with these rings. What is left in the old ones is taken first."""
        while self.leading:                           # nobody begins to lead while we are adrift
            with nogil:
                poll(NULL, 0, 1)
        if self.lost is not None:
            return
        self.look()
        self.read_down()
        self.channel = Channel(memory, doorbell, bell_memory, slot, bell_eventfd, lifeline)
        self.answers.clear()
        self.known.begin_life()
        self.mappings.begin_life(life, folder)
        self.worker_count = 0
        self.shore = LANDING

    def resend(self):
        """Say all that is open to this scheduler, which has heard none of it. False if it has gone meanwhile."""
        if not say_all_again(self):
            return False
        self.shore = ASHORE
        return True

    cdef bint has_room_soon(self, Ring ring) except -1:
        """Wait for room in a ring while landing. False if the scheduler has gone."""
        self.channel.tell()
        if self.lost is not None or self.shore != LANDING:
            return False
        self.let_get_on(self.channel, ring)
        return self.lost is None and self.shore == LANDING

    def give_up(self, error not None):
        """Nobody looks for another scheduler any more: every call raises `error` from now on."""
        self.on_lost(error)
        self.fail_all(error)

    # results

    cpdef object look(self):
        """Take what results there are, without waiting, and tell who waits for them."""
        self.take_results()
        if self.arrived:
            self.find_arrived()
        if self.unfinished:
            self.finish_late()
        if self.channel.results.broken and self.lost is None:
            self.on_hang_up()
        if self.known.freed and not self.arrived:
            self.known.free_heard()

    cdef int take_results(self) except -1:
        """Take all results that are there. Nobody's code but ours runs in here: see rule 1."""
        cdef Ring results = self.channel.results
        cdef Record *record
        cdef PendingFuture future
        cdef object value
        cdef uint8_t state
        cdef bint collects
        if self.abandoned:
            return 0
        collects = PyGC_Disable()                     # it would run finalizers
        try:
            while True:
                record = results.peek()
                if record == NULL:
                    break
                if record.kind == KIND_RESULT and record.flags & FLAG_OBJECTS:
                    self.arrived.append((record.task, payload_of(record)[:payload_bytes_of(record)], record.duration_ns,
                                         record.cpu_us, record.memory_peak_kib, record.status, record.flags, record.detail))
                    results.step(record.record_bytes)
                    continue
                future = self.forget(record.task) if record.kind == KIND_RESULT else None
                if future is None:
                    self.strays += record.kind == KIND_RESULT
                    results.step(record.record_bytes)
                    continue
                future.duration_ns = record.duration_ns
                future.cpu_us = record.cpu_us
                future.memory_peak_kib = record.memory_peak_kib
                future.status = <uint8_t>record.status
                future.flags = record.flags
                value = self.outcome_of(record, &state)
                if future.dependants is not None:
                    future.served = record.detail
                    self.supplies.add(self, future)
                results.step(record.record_bytes)
                self.complete(future, state, value)
        finally:
            if collects:
                PyGC_Enable()
        if results.is_behind() and results.recycle():
            self.channel.tell()
        return 0

    cdef int find_arrived(self) except -1:
        """End the futures whose results are objects. Finding one opens files, so other threads and others' code may come in
        between: each stays in `arrived` until its future has it, and whoever is first ends that."""
        cdef PendingFuture future
        cdef Mapping mapping
        cdef Loan loan
        cdef bytes payload
        cdef tuple result
        cdef bint is_sound
        while self.arrived:
            result = self.arrived[0]
            payload = result[1]
            mapping = loan = None
            is_sound = places_in(PyBytes_AS_STRING(payload), len(payload)) == 1
            if is_sound:
                try:
                    mapping = self.mappings.find(place_at(PyBytes_AS_STRING(payload), 0).segment)
                except (OSError, ValueError):
                    pass                              # who opens it hears why
            if not self.arrived or self.arrived[0] is not result:
                continue
            # From here on nobody's code but ours.
            self.arrived.popleft()
            if is_sound and mapping is None and (self.shore != ASHORE or self.channel.has_hung_up()):
                # It was removed before we came to it: its worker has gone over to the next scheduler, or was swept up.
                # The task stays open, and is sent again.
                self.known.has_lost_result = True
                continue
            if is_sound:
                loan = self.mappings.lend(place_at(PyBytes_AS_STRING(payload), 0), True)
                loan.pinned = mapping                 # its name may go before it is read
            future = self.forget(result[0])
            if future is None:
                self.strays += 1                      # nobody wants it: it is given back as it is dropped
                continue
            _, _, future.duration_ns, future.cpu_us, future.memory_peak_kib, future.status, future.flags, served = result
            if future.dependants is not None:
                future.served = served
                self.supplies.add(self, future)
            self.complete(future, FUTURE_RAW, loan)
        return 0

    cdef int say_given_back(self) except -1:
        if self.shore != ASHORE:
            return 0
        self.known.free_unheard(self.mappings.given_back)
        if write_release(self.channel.tasks, self.mappings.given_back):
            self.channel.tell()
        return 0

    def tend(self):
        """Say what is held no more, hear what may be freed, give up what is of no use. False if there is nothing to tend."""
        cdef uint64_t now
        if self.lost is not None:
            return False
        if self.unsaid_cancels:
            self.say_cancelled()
        if self.mappings.given_back.length:
            self.say_given_back()
        if self.channel.down.has_news():
            self.read_down()
            if self.known.freed:
                self.look()
        if self.shore != ASHORE:
            return True
        now = now_ns()
        if now >= self.next_trim_ns:
            self.next_trim_ns = now + TRIM_NS
            self.mappings.trim(now)
            self.store.trim(now)
        return bool(self.store.areas or self.mappings.by_segment or self.mappings.open_loans or self.unsaid_cancels)

    def make_room(self):
        """Wait a moment for objects to be freed. False if nothing is under way that could free any."""
        cdef uint64_t used = self.store.used_bytes
        cdef bint any_open = self.open.count > 0 or self.mappings.given_back.length > 0
        if here_is_needed():
            refuse_to_wait()
        self.look()
        if self.lost is not None:
            raise anew(self.lost)
        if self.mappings.given_back.length:
            self.say_given_back()
        self.read_down()
        if self.store.used_bytes < used:
            return True
        self.mappings.trim(now_ns())
        with nogil:
            poll(NULL, 0, 1 if any_open else 50)   # what has just ended is heard of in a moment
        PyErr_CheckSignals()
        self.check_scheduler()
        self.read_down()
        return any_open or self.store.used_bytes < used

    cdef object outcome_of(self, Record *record, uint8_t *state):
        """What the future of this result gets, and its state with that."""
        cdef uint32_t size = payload_bytes_of(record)
        cdef object value
        try:
            if record.status == STATUS_OK and record.flags == FLAG_PLAIN and self.decode_plain:
                value = read_plain(payload_of(record), size)
                if value is not NotImplemented:
                    state[0] = FUTURE_DONE
                    return value
            state[0] = FUTURE_RAW
            return PyBytes_FromStringAndSize(payload_of(record), size)
        except Exception as error:                    # bytes that make no sense, or no memory for them
            state[0] = FUTURE_FAILED
            return error

    cdef int complete(self, PendingFuture future, uint8_t state, object value) except -1:
        """This one, which is open no more, is done. Who looks at it with others' code is told by `finish_late`."""
        cdef MapProgress progress = future.progress
        cdef bint collects
        if self.nest is not None:
            self.nest.moved_ns = 0
        future.end(state, value)
        if progress is not None:
            progress.on_end(future)
        if future.condition is not None and not future.is_hidden:
            future.is_hidden = True
            collects = PyGC_Disable()
            self.unfinished.append(future)
            if future.callbacks:
                self.note_callbacks(future)
            if collects:
                PyGC_Enable()
        return 0

    cdef int note_callbacks(self, PendingFuture future) except -1:
        """Give the callbacks of this one, which is done, to the threads that call them."""
        cdef list quick = [], others = []
        for fn in future.callbacks:
            (quick if type(fn) is QuickCallback else others).append(fn)
        future.callbacks = None
        if quick:
            self.to_tell.append((future, quick))
            self.watched_event.set()
        if others:
            self.to_call.append((future, others))
            self.call_event.set()
            if not self.has_caller:
                self.watched_event.set()              # the client's own thread starts it
        return 0

    cdef int finish_late(self) except -1:
        """Tell those who look at what is done, unless somebody holds its condition just now, be it this very thread further
        down its stack.

        What the standard library waits with has locks of its own, and the handler of a signal may come in while its thread
        holds one. So only the client's own thread, which runs no handlers, tells of that, and not while one is held.
        """
        cdef PendingFuture future
        cdef list waiters
        cdef Py_ssize_t i
        cdef bint is_own_thread = self.own_thread == PyThread_get_thread_ident()
        for i in range(len(self.unfinished)):
            if not self.unfinished:
                break
            future = self.unfinished[0]
            if ((future.waiters and (not is_own_thread or self.telling or is_any_busy(future.waiters)))
                    or future.condition._is_owned() or not future.condition.acquire(False)):
                self.unfinished.rotate(-1)
                if not is_own_thread:
                    self.watched_event.set()
                continue
            try:
                waiters = list(future.waiters or ())
                if not self.unfinished or self.unfinished[0] is not future or (waiters and not is_own_thread):
                    continue                          # others' code has come in between
                self.unfinished.popleft()
                future.is_hidden = False
                if not isinstance(future, MapProgress):
                    self.watched -= 1
                try:
                    if waiters:
                        self.tell(future, waiters)
                finally:
                    future.condition.notify_all()
            finally:
                future.condition.release()
        return 0

    cdef int tell(self, PendingFuture future, list waiters) except -1:
        """Tell what the standard library waits with: all of it, whatever one of them raises."""
        cdef object stop = None
        self.telling = True
        for waiter in waiters:
            try:
                if future.state == FUTURE_CANCELLED:
                    waiter.add_cancelled(future)
                elif future.state == FUTURE_FAILED or (future.state == FUTURE_RAW and future.status != STATUS_OK):
                    waiter.add_exception(future)
                else:
                    waiter.add_result(future)
            except BaseException as error:
                stop = error
        self.telling = False
        if stop is not None:
            raise stop
        return 0

    def call_back(self):
        """Tell who waits for futures that are done, and run their quick callbacks. For the client's own thread."""
        self.own_thread = PyThread_get_thread_ident()
        if self.unfinished:
            self.finish_late()
        if self.supplies.waiting:
            self.supplies.hand_in_all(self)
        self.run_all(self.to_tell)

    def run_callbacks(self):
        """Run the other callbacks of futures that are done, in the order of their ends. For the thread that they have."""
        self.run_all(self.to_call)

    cdef run_all(self, queue):
        while queue:
            try:
                future, callbacks = queue.popleft()
            except IndexError:                        # another thread was faster
                return
            (<PendingFuture>future).run_callbacks(callbacks)

    @property
    def needs_caller(self):
        """Whether there are callbacks to run, and no thread for them."""
        return len(self.to_call) > 0 and not self.has_caller

    @property
    def has_untold(self):
        """Whether somebody is still to be told that a future is done."""
        return len(self.unfinished) > 0

    cdef on_callback_error(self, future):
        self.callback_error(future)

    cdef on_watched(self):
        self.watched += 1
        self.watched_event.set()

    cdef int read_down(self) except -1:
        """What the scheduler says besides results."""
        cdef Ring down = self.channel.down
        if self.abandoned:
            return 0
        while True:
            said = down.read()
            if said is None:
                if down.take_producer_waits():
                    self.channel.tell()
                if self.known.freed and not self.arrived and not self.channel.results.has_news():
                    self.known.free_heard()
                return 0
            if said[0] == KIND_WORKERS:
                self.worker_count = said[7]
            elif said[0] == KIND_FREED:
                self.known.freed.append(said[2])
            elif said[0] == KIND_GOODBYE:
                self.farewell = said[2]
            elif said[0] == KIND_RUN_HERE and self.nest is not None:
                self.nest.on_run_here(self, said[1])
                self.wake_follower(said[1])
            else:
                self.answers.append(said)
        return 0

    cdef int wake_follower(self, uint64_t task) except -1:
        for future in list(self.followers):
            if (<PendingFuture>future).task_id == task:
                notify((<PendingFuture>future).condition)
        return 0

    def find_answer(self):
        """The oldest answer to a control record that nobody has taken, or None."""
        self.read_down()
        return self.answers.popleft() if self.answers else None

    def count_workers(self):
        """How many workers the scheduler has, as far as it has said."""
        self.read_down()
        return self.worker_count

    # waiting

    cdef int wait_for(self, PendingFuture future, timeout) except -1:
        cdef uint64_t deadline = 0
        if timeout is not None:
            deadline = now_ns() + <uint64_t>(max(0.0, min(float(timeout), 1e9)) * 1e9)
        if timeout is not None and timeout <= 0:
            return self.wait_until(future, timeout, deadline)
        if here_is_needed():
            self.look()
            return refuse_to_wait() if future.state == FUTURE_PENDING else 0
        if self.nest is None:
            return self.wait_until(future, timeout, deadline)
        if self.nest.run_here(self, future):
            return self.wait_until(future, timeout, deadline)    # if its condition was held by somebody
        self.nest.check_stack(future)
        self.nest.begin_wait(self, future)
        self.nest.waits += 1
        try:
            return self.wait_until(future, timeout, deadline)
        finally:
            self.nest.waits -= 1
            self.nest.end_wait(self, future)

    cdef int see_done(self, PendingFuture future) except -1:
        """In a task: run this one, which somebody will wait for, unless another worker has begun it."""
        if not self.nest.run_here(self, future):
            self.nest.watch(self, future)
        return 0

    cdef int check_standard_wait(self, PendingFuture future) except -1:
        """Somebody is about to wait for this one until he is told, by the client's own thread: RuntimeError if that can
        never be."""
        if here_is_needed():
            return refuse_to_wait()
        if self.own_thread == PyThread_get_thread_ident():
            raise RuntimeError(f"task {future.task_id:#x} cannot be waited for in this way in the client's own thread, "
                               "where the collector has run a finalizer, or a callback for which there was no thread: "
                               "that thread tells those who wait with concurrent.futures. Use result() or exception()")
        if self.nest is not None and future.state == FUTURE_PENDING:
            self.nest.check_stack(future)
        return 0

    cdef int hand_in_own(self) except -1:
        """In the client's own thread, where a callback waits: nobody else would hand in what its task may need."""
        if self.supplies.waiting and self.own_thread == PyThread_get_thread_ident():
            self.supplies.hand_in_all(self)
        return 0

    cdef int after_task(self, bint is_stopped) except -1:
        """In a worker: the task that ran is over. If it was stopped, so is what it has submitted."""
        if not is_stopped:
            self.nest.send_away(self)
        elif self.open.count:
            self.clear()
        return 0

    @property
    def is_nested(self):
        """Whether it is the client of the tasks that run in a worker."""
        return self.nest is not None

    def settle_nested(self, PendingFuture future not None):
        """In a task: have this one done, since what needs its result could not be run in place of waiting."""
        if self.nest is not None and future.state == FUTURE_PENDING:
            self.wait_for(future, None)

    def serve_nest(self):
        """For the client's own thread, in a worker: what the scheduler wants run here, each on a thread of its own."""
        if self.nest is None:
            return ()
        self.read_down()
        return self.nest.serve(self)

    def stuck(self):
        """In a worker: who waits for whom, if nothing that is waited for has ended for long; else None."""
        return None if self.nest is None else self.nest.stuck(self)

    def is_blocked(self):
        """In a worker: whether its task waits for what runs elsewhere, and has for a while."""
        return self.nest is not None and self.nest.is_blocked()

    def set_patience(self, double seconds):
        """How long nothing that is waited for may end before `stuck` says so. For tests."""
        self.nest.quiet_ns = <uint64_t>(seconds * 1e9)

    def run_lent(self, PendingFuture future not None):
        """Run what `serve_nest` gave."""
        try:
            self.nest.run_lent(self, future)
        finally:
            self.watched_event.set()

    cdef int wait_until(self, PendingFuture future, timeout, uint64_t deadline) except -1:
        cdef double left
        while future.state == FUTURE_PENDING:
            self.hand_in_own()
            if self.nest is not None and future.task_id in self.nest.lent:
                self.nest.waits -= 1
                try:
                    if self.nest.run_here(self, future):
                        continue
                finally:
                    self.nest.waits += 1
            if self.lost is not None and self.open.count == 0:
                raise anew(self.lost)
            elif self.shore == ADRIFT:
                self.look()
                if future.state == FUTURE_PENDING:
                    self.rest_adrift()
            elif not self.leading:
                self.lead(future, deadline)
            else:
                with future.make_condition():
                    if future.state == FUTURE_PENDING and self.leading:
                        self.followers.append(future)
                        left = 0.1 if timeout is None else min(0.1, max(0.0, (<double>deadline - <double>now_ns()) / 1e9))
                        try:
                            future.condition.wait(left)
                        finally:               # a signal's handler may raise here; who has gone is not to be woken
                            self.unfollow(future)
            if future.state == FUTURE_PENDING and timeout is not None and now_ns() >= deadline:
                raise _TimeoutError(f"task {future.task_id:#x} was not done within {timeout} s")
        return 0

    cdef int unfollow(self, PendingFuture future) except -1:
        try:
            self.followers.remove(future)
        except ValueError:
            pass
        return 0

    cdef hand_on(self):
        """The role is free: wake one of those who wait for it."""
        if self.followers:
            try:
                future = self.followers[0]
            except IndexError:
                return
            notify((<PendingFuture>future).condition)

    def lead_for(self, double seconds):
        """Lead for up to this long, for the client's own thread. False if another thread leads, or nobody can."""
        if self.shore == ADRIFT:
            self.look()
            return False
        if self.leading:
            return False
        self.lead(None, now_ns() + <uint64_t>(seconds * 1e9))
        return True

    cdef int lead(self, PendingFuture future, uint64_t deadline) except -1:
        """Take results until `future` is done, the deadline has passed, or there are callbacks and nobody's future to wait
        for; or until another thread leads, which may have come in while others' code ran here."""
        cdef int looks = 0
        try:
            while self.go_on_leading(future):
                if deadline and now_ns() >= deadline:
                    break
                if self.wait_for_news(future, deadline, &looks):
                    self.look()
                    self.on_hang_up()
                else:
                    PyErr_CheckSignals()
        finally:
            if not self.leading:
                self.hand_on()
        return 0

    cdef bint go_on_leading(self, PendingFuture future) except -1:
        """Do what there is to do, in which others' code may run. False if there is no need to wait, or no way."""
        self.look()
        if future is not None and future.state != FUTURE_PENDING:
            return False
        if future is not None:
            self.hand_in_own()
        if self.nest is not None:
            self.read_down()
            if self.nest.lent and (future is None or future.task_id in self.nest.lent):
                return False
            self.nest.ask_again(self)
        if self.lost is not None:
            self.fail_all(self.lost)
            return False
        if self.mappings.given_back.length:           # what comes next may be made where that was
            self.say_given_back()
        return not self.is_to_stop(future)

    cdef inline bint is_to_stop(self, PendingFuture future) noexcept:
        """Whether nobody is to wait for news now on behalf of `future`."""
        if self.leading or self.lost is not None or self.shore == ADRIFT:
            return True
        if future is not None:
            return future.state != FUTURE_PENDING
        return len(self.to_tell) > 0 or (len(self.to_call) > 0 and not self.has_caller)

    cdef bint wait_for_news(self, PendingFuture future, uint64_t deadline, int *looks) noexcept:
        """In the role: look for news for a moment, then sleep. True if the scheduler has gone. Others' code never runs here."""
        cdef Channel channel = self.channel
        cdef bint is_nested = self.nest is not None
        cdef bint has_gone = False
        cdef int wait_ms = 100
        self.leading = True
        if not channel.spin(now_ns(), is_nested):
            # Other threads have run meanwhile, and may have taken what we wait for.
            self.leading = False
            if self.is_to_stop(future):
                return False
            self.leading = True
            if len(self.unfinished):
                looks[0] += 1
                wait_ms = 0 if looks[0] < 4 else 2
            elif deadline:
                wait_ms = ms_until(deadline, wait_ms)
            has_gone = channel.sleep(wait_ms, is_nested)
        self.leading = False
        return has_gone

    def on_lost(self, error not None):
        """The scheduler is gone for good: every call raises `error` from now on."""
        if self.lost is None:
            self.lost = error
            self.shore = ASHORE

    def clear(self):
        """Cancel all that is open now, but not what others submit while that waits to be said."""
        cdef uint64_t end = self.open.next_number
        if self.nest is not None:
            self.nest.drop_all()
        if self.shore == ASHORE:
            self.control(KIND_CLEAR, self.bits | end)
        else:
            self.unsaid_cancels += [(<PendingFuture>future).task_id for future in self.open.all()]
        self.end_below(end, None, "its client was cleared")

    def leave(self, error not None, str why="its client has left"):
        """The client leaves: every call raises `error` from now on, and what is open is cancelled; `why` says why."""
        self.lost = error
        self.shore = ASHORE
        self.end_below(<uint64_t>-1, None, why)
        self.supplies.waiting.clear()
        self.known.objects = self.pack_value = None

    def is_awaited(self):
        """Whether somebody still refers to a future that is not done, or to a large result that was not read."""
        if self.lost is not None:
            return False
        return self.mappings.unread_loans > 0 or (self.open.count > 0 and self.open.any_held())

    def fail_all(self, error not None):
        """End all open futures with this exception."""
        self.end_below(<uint64_t>-1, error, None)

    cdef int end_below(self, uint64_t end, error, why) except -1:
        """End the open futures of tasks whose numbers are below `end` with this exception, or cancel them if it is None,
        for this reason."""
        cdef PendingFuture future
        for future in self.open.all():
            if future.task_id & NUMBER_MASK < end and self.forget(future.task_id) is not None:
                self.complete(future, FUTURE_CANCELLED if error is None else FUTURE_FAILED, why if error is None else error)
        self.finish_late()
        return 0

    cdef cancel(self, PendingFuture future):
        """Cancel it, and what was submitted with it as an argument."""
        cdef PendingFuture one
        cdef list more
        cdef str why
        if future.dependants is None:
            self.cancel_one(future, None)
            return
        more = [(future, None)]
        while more:
            future, why = more.pop()
            if future.dependants is not None:
                because = f"task {future.task_id:#x}, whose result it needs, was cancelled"
                more += [(one, because) for one in future.dependants if one is not None]
            self.cancel_one(future, why)

    cdef cancel_one(self, PendingFuture future, str why):
        cdef uint16_t child = future.child
        if self.forget(future.task_id) is None:
            return
        if not child or not self.nest.children.take_back(child - 1, future.task_id):
            self.unsaid_cancels.append(future.task_id)
        callbacks, future.callbacks = future.callbacks, None    # they are called here, and not by the client's thread
        self.complete(future, FUTURE_CANCELLED, why)
        try:
            if self.unfinished:
                self.finish_late()
        finally:
            self.say_cancelled()
            if callbacks is not None:
                future.run_callbacks(callbacks)

    cdef int say_cancelled(self) except -1:
        """Tell the scheduler what is not wanted, as far as there is room and a scheduler: who cancels never waits."""
        while self.unsaid_cancels and self.lost is None and self.shore == ASHORE:
            task = self.unsaid_cancels.popleft()
            if not self.channel.say(KIND_CANCEL, task, b"", 0, 0):
                self.unsaid_cancels.appendleft(task)
                break
            self.said_cancels.append(task)
        if self.unsaid_cancels and self.resting:              # the client's own thread will go on with it
            self.resting = False
            self.watched_event.set()
        return 0

    def rest(self, event):
        """Sleep until a task is submitted or something is watched, for the client's own thread."""
        self.resting = True
        if self.open.count == 0 and self.watched == 0:
            event.wait((UNSAID_S if self.unsaid_cancels else TEND_S) if self.tend() else IDLE_S)
        self.resting = False
        if self.open.count == 0:
            self.check_scheduler()

    def abandon(self):
        """In a forked child: whoever led or slept here was a thread of the parent, and so is who reads the rings."""
        cdef PendingFuture future
        self.abandoned = True
        self.leading = self.resting = False
        self.followers.clear()
        self.to_tell.clear()
        self.to_call.clear()
        self.has_caller = False
        self.unsaid_cancels.clear()
        self.supplies.waiting.clear()
        self.arrived.clear()
        self.unfinished.clear()
        self.telling = False
        for future in self.open.all():
            future.abandon()
        self.open.forget_all()
        self.watched = 0

    def interrupt(self):
        """Wake whoever leads."""
        ring_doorbell(&self.channel.page.sleeping, self.channel.doorbell)
