# NestedTasks: what a worker's own client does differently: tasks that wait for tasks.
#
# A parent that waits for a task it has submitted, its child, holds a worker. So the child must never depend on a worker
# being free. If no worker has begun the child, the parent runs it on its own stack:
#
#   among the children still     taken back, without a word to anybody
#   the scheduler has it         WAIT is said; unless the child runs somewhere by now, the answer is RUN_HERE
#   it runs on another worker    then it gets on by itself, and so does the parent
#
# So tasks of any depth, on any number of workers, cannot deadlock.
#
# Nothing but what is waited for is ever run on that stack: anything else might want a lock that is held below.
#
# Arguments and results are pickled as if the task had run elsewhere, so it behaves alike in both places.
#
# Some wait in ways that run no code of ours (the standard library's `wait` and `as_completed`, asyncio). For each
# thread that does, one of what it waits for is asked for at a time, so that the rest is left to other workers, and
# what is lent then runs on a thread of its own, which may wait in turn.
#
# Rule 1: a task that was lent is run or returned, even if nobody waits for it any more.
# Rule 2: a copy of this process that a task has forked ends where that task's code does: what it waits in is not run on
#         there (worker/forked.pyx).
# Rule 3: the stack ends with a RecursionError that names the chain of tasks, never with a crash.
# Rule 4: a task that runs in place goes on when what interrupts it is over: the handler of a signal, or a finalizer. If
#         that waits for the task it waits for ever, so it is told so (RuntimeError, `check_stack`).
# Not here: the children (children), what the scheduler does (core).

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <pthread.h>
    /* Whether less than a quarter of this thread's stack, or a mebibyte of it, is left. */
    static int scaler_stack_is_short(void) {
        static __thread char *low = NULL;
        char here;
        if (low == NULL) {
            pthread_attr_t attributes;
            void *start;
            size_t size;
            low = (char *)((uintptr_t)&here - 65536);
            if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
                if (pthread_attr_getstack(&attributes, &start, &size) == 0)
                    low = (char *)start + (size / 4 < 1048576 ? size / 4 : 1048576);
                pthread_attr_destroy(&attributes);
            }
        }
        return &here < low;
    }
    """
    bint stack_is_short "scaler_stack_is_short"() noexcept nogil

cdef extern from "Python.h":
    char *PyByteArray_AS_STRING(object array)
    int Py_GetRecursionLimit()
    void Py_SetRecursionLimit(int limit)

cdef enum:
    MORE_FRAMES = 16         # that a task run in place may need on the stack, beside those of the waiting one
    CHAIN_ENDS = 3           # of a chain of tasks, how many are named at either end
    OLD_NS = 50000000        # after which a child is sent away that no scheduler can take
    ASK_NS = 100000000       # WAIT is said again, since a worker may have died meanwhile
    MOST_NAMED = 5           # of the tasks that are waited for in vain


cdef uint64_t BLOCKED_NS = 50000000    # after which somebody else may have this worker's share of the host
cdef uint64_t QUIET_NS = 30000000000   # after which somebody is told that nothing that is waited for has ended


cdef class OwnCopy:
    """A packed object in this process's own memory: what a Loan would be elsewhere."""
    cdef object buffer

    def __init__(self, buffer not None):
        self.buffer = buffer

    def open(self, bint is_private):
        return self.buffer


cdef bytearray pack_parts(stream, buffers):
    """A pickle with its buffers as one packed object in this process's own memory."""
    cdef bytearray packed = bytearray(packed_bytes(len(stream), buffers))
    write_packed(PyByteArray_AS_STRING(packed), stream, buffers)
    return packed


@cython.final
cdef class Watcher:
    """A thread that waits in ways that run no code of ours, and what for."""
    cdef dict futures             # task -> future, the next to be asked for first
    cdef set said                 # those of them that the scheduler was asked for
    cdef uint64_t asked           # the last of these
    cdef uint64_t asked_ns
    cdef bint is_running          # one of them runs here

    def __cinit__(self):
        self.futures, self.said = {}, set()


cdef str name_of_callable(function):
    return getattr(function, "__qualname__", type(function).__qualname__)


cdef class NestedTasks:
    """Belongs to a ClientRings."""
    cdef Children children
    cdef Mappings mappings
    cdef dict functions           # number -> callable, of those that were run here
    cdef dict waiting             # task -> how many wait for it
    cdef dict watchers            # thread -> Watcher
    cdef dict watched             # task -> Watcher
    cdef set lent                 # tasks that the scheduler wants run here
    cdef list chain               # functions under way, outermost first
    cdef Origin origin            # the client for which they run
    cdef uint64_t asked_ns
    cdef uint64_t sent_number     # of the last child that was here when a task ended
    cdef TaskRunner runner        # of the worker
    cdef Interrupts interrupts
    cdef object load_function
    cdef uint32_t last_runs       # how many run here that may not be tried again
    cdef bint sends_old           # no scheduler looks at the children
    cdef uint64_t old_number, next_sending_ns
    cdef readonly uint64_t runs   # how many calls ran here
    cdef uint64_t moved_ns        # when something last ended, as of the last look
    cdef uint64_t patience_ns
    cdef uint32_t waits           # threads that wait here, and run nothing meanwhile
    cdef bytes supply             # what this worker has (resources)
    cdef public uint64_t quiet_ns # how long nothing may end before `stuck` says so

    def __init__(self, Segment memory not None, Mappings mappings not None, TaskRunner runner not None,
                 Interrupts interrupts not None, Origin origin not None, *, load_function, bint sends_old=False,
                 bytes supply=b""):
        self.children = Children(memory)
        self.runner, self.interrupts, self.origin = runner, interrupts, origin
        self.load_function, self.sends_old, self.mappings = load_function, sends_old, mappings
        self.functions, self.waiting, self.watchers, self.watched = {}, {}, {}, {}
        self.lent, self.chain = set(), []
        self.supply = supply
        self.quiet_ns = QUIET_NS

    # threads that wait for a task

    cdef int begin_wait(self, ClientRings client, PendingFuture future) except -1:
        """Somebody waits for this task, which is not among the children."""
        self.waiting[future.task_id] = self.waiting.get(future.task_id, 0) + 1
        return self.ask(client, future.task_id)

    cdef int end_wait(self, ClientRings client, PendingFuture future) except -1:
        cdef int count = self.waiting.get(future.task_id, 0) - 1
        if count > 0:
            self.waiting[future.task_id] = count
            return 0
        self.waiting.pop(future.task_id, None)
        if future.task_id in self.lent:
            self.lent.discard(future.task_id)
            self.say_returned(client, future.task_id, False)
        return 0

    # futures that are waited for in ways that run no code of ours: the client's own thread sees to them

    cdef int watch(self, ClientRings client, PendingFuture future) except -1:
        cdef Watcher watcher
        if future.task_id in self.watched:
            return 0
        thread = PyThread_get_thread_ident()
        watcher = self.watchers.get(thread)
        if watcher is None:
            watcher = self.watchers[thread] = Watcher()
        watcher.futures[future.task_id] = future
        self.watched[future.task_id] = watcher
        if len(watcher.futures) == 1:
            self.ask_for(client, watcher)
        return 0

    cdef int ask_for(self, ClientRings client, Watcher watcher) except -1:
        """Ask for the next; another is only asked for if that took long, since it may need what that one makes."""
        cdef PendingFuture future
        cdef uint64_t now = now_ns()
        cdef uint64_t task
        future = watcher.futures.get(watcher.asked)
        if future is not None and future.state == FUTURE_PENDING:
            if watcher.is_running or now - watcher.asked_ns < ASK_NS:
                return 0
            watcher.futures[watcher.asked] = watcher.futures.pop(watcher.asked)
        while watcher.futures:
            task, future = next(iter(watcher.futures.items()))
            if future.state == FUTURE_PENDING:
                watcher.asked, watcher.asked_ns = task, now
                if task not in watcher.said:
                    watcher.said.add(task)
                    self.waiting[task] = self.waiting.get(task, 0) + 1
                return self.ask(client, task)
            watcher.futures.pop(task, None)
            self.watched.pop(task, None)
            if task in watcher.said:
                watcher.said.discard(task)
                self.end_wait(client, future)
        return 0

    cdef list serve(self, ClientRings client):
        """What is to be run here, each on a thread of its own: `run_lent`."""
        cdef Watcher watcher
        cdef uint64_t now
        cdef list to_run = []
        if self.sends_old:
            now = now_ns()
            if now >= self.next_sending_ns:
                self.next_sending_ns = now + OLD_NS
                self.send(client, self.old_number, 1 + <uint32_t>client.connection.worker_count)
                self.old_number = self.children.number
        for task in list(self.lent):
            watcher = self.watched.get(task)
            if watcher is None:
                continue
            self.lent.discard(task)
            if watcher.is_running:                    # asked for when another one took long, which runs here by now
                self.say_returned(client, task, False)
            else:
                watcher.is_running = True
                to_run.append(watcher.futures[task])
        for thread, watcher in list(self.watchers.items()):
            if not watcher.is_running:
                self.ask_for(client, watcher)
                if not watcher.futures:
                    self.watchers.pop(thread, None)
        return to_run

    cdef int run_lent(self, ClientRings client, PendingFuture future) except -1:
        cdef Watcher watcher = self.watched.get(future.task_id)
        try:
            if client.forget(future.task_id) is not None:    # else it was cancelled meanwhile
                self.run(client, future)
        finally:
            if watcher is not None:
                watcher.is_running = False
            self.say_returned(client, future.task_id, True)
        if watcher is not None:
            self.ask_for(client, watcher)
        return 0

    cdef int ask(self, ClientRings client, uint64_t task) except -1:
        """If the ring is full, another time."""
        self.asked_ns = now_ns()
        if self.sends_old and not self.may_run_here(client, task):
            return 0
        client.connection.channel.say(KIND_WAIT, task, b"", 0, 0)
        return 0

    cdef bint may_run_here(self, ClientRings client, uint64_t task) except -1:
        """Whether this worker has what the task asks for, if it asks for anything. The scheduler of this host finds that out
        itself; any other would have it taken from the worker that has it."""
        cdef PendingFuture future = client.open.find(task & NUMBER_MASK)
        cdef bytes request = None if future is None else client.functions.request_of(future.function)
        return request is None or has_what_is_asked(self.supply, request)

    cdef int ask_again(self, ClientRings client) except -1:
        if self.waiting and now_ns() - self.asked_ns > ASK_NS:
            for task in list(self.waiting):
                if task not in self.lent:
                    self.ask(client, task)
        return 0

    cdef int on_run_here(self, ClientRings client, uint64_t task) except -1:
        if task in self.waiting:
            self.lent.add(task)
        else:
            self.say_returned(client, task, False)
        return 0

    cdef int say_returned(self, ClientRings client, uint64_t task, bint is_done) except -1:
        if client.connection.lost is None:
            client.control(KIND_RETURN, task, b"", 0, 0 if is_done else 1)
        return 0

    cdef int send_away(self, ClientRings client) except -1:
        """The task that ran here is over: what it has submitted and not waited for goes to any worker that has time."""
        if self.children.number == self.sent_number:
            return 0
        self.sent_number = self.children.number
        return self.send(client, self.children.number, CHILD_SLOTS)

    cdef int send(self, ClientRings client, uint64_t last, uint32_t most) except -1:
        """Submit up to so many of the children offered up to `last` to the scheduler."""
        cdef uint32_t slot
        for slot in range(CHILD_SLOTS):
            while most and self.children.is_offered(slot, last):
                if self.submit_child(client, slot):
                    most -= 1
                    break
                client.wait_for_room()    # another thread may use the slot meanwhile: look again
        return 0

    cdef bint submit_child(self, ClientRings client, uint32_t slot) except -1:
        """From its slot into the ring, unless another worker gets it first. False if there is no room."""
        cdef Record *child = self.children.record(slot)
        cdef Record *record = client.connection.channel.tasks.reserve(payload_bytes_of(child))
        if record == NULL:
            return False
        # No Python call from here to commit: the reserved record must stay this thread's, and the child be whole.
        if not self.children.take_back(slot, child.task):
            return True                               # the reserved room is the next one's
        copy_record(record, child, payload_bytes_of(child))
        client.connection.channel.tasks.commit()
        client.connection.channel.tell()
        return True

    cdef int drop_all(self) except -1:
        """The task that ran here was stopped: nobody is to begin its children."""
        cdef uint32_t slot
        for slot in range(CHILD_SLOTS):
            self.children.take_back(slot, self.children.record(slot).task)
        return 0

    # nothing moves

    cdef object stuck(self, ClientRings client):
        """A sentence that names what waits for what, if nothing has ended for long; the next after twice that time."""
        cdef uint64_t now = now_ns()
        cdef uint64_t patience = self.patience_ns
        if not self.waiting or client.notifier.has_moved or self.moved_ns == 0:
            client.notifier.has_moved = False
            self.moved_ns, self.patience_ns = now, self.quiet_ns
            return None
        if now - self.moved_ns < patience:
            return None
        self.patience_ns = 2 * patience
        names = [f"{client.name_of((<PendingFuture>future).function)} (task {(<PendingFuture>future).task_id:#x})"
                 for future in client.open.all() if (<PendingFuture>future).task_id in self.waiting]
        if len(names) > MOST_NAMED:
            names[MOST_NAMED:] = [f"{len(names) - MOST_NAMED} more"]
        chain = " -> ".join(name_of_callable(function) for function in self.chain[-CHAIN_ENDS:])
        return (f"nothing that is waited for here has ended for {(now - self.moved_ns) // 1000000000} s: the task that runs "
                + (f"here, in it {chain}, waits for " if chain else "here waits for ") + ", ".join(names))

    cdef bint is_blocked(self):
        """Whether it waits for what runs elsewhere, and has for a while. After `stuck`."""
        cdef Watcher watcher
        if not self.waiting or now_ns() - self.moved_ns < BLOCKED_NS:
            return False
        if self.waits:
            return True
        for watcher in self.watchers.values():
            if watcher.is_running:
                return False
        return bool(self.watchers)

    # running

    cdef bint run_here(self, ClientRings client, PendingFuture future) except -1:
        """Run this future's task here and now, if nobody else has begun it."""
        cdef bint is_lent = False
        cdef uint16_t child = future.child
        if child:
            future.child = 0
            if not self.children.take_back(child - 1, future.task_id):
                return False                          # a worker has it, or will
        elif future.task_id in self.lent:
            self.lent.discard(future.task_id)
            is_lent = True
        else:
            return False
        if client.forget(future.task_id) is None:     # cancelled meanwhile
            if is_lent:
                self.say_returned(client, future.task_id, True)
            return True
        self.run(client, future)
        if is_lent:
            self.say_returned(client, future.task_id, True)
        return True

    cdef int check_stack(self, PendingFuture future) except -1:
        """Somebody is about to wait for this one: RuntimeError if it runs below on his own stack."""
        if is_in_place_here(future.task_id, <void *>self):
            raise RuntimeError(f"task {future.task_id:#x} is being run by this very thread, and what waits for it has "
                               "interrupted it (the handler of a signal, or a finalizer): it goes on only when that "
                               "is over, so waiting for it would never end")
        return 0

    cdef int run(self, ClientRings client, PendingFuture future) except -1:
        """Run it and end its future, whatever happens. From the beginning on it is known to be on this stack."""
        cdef InPlace here = begin_in_place(future.task_id, <void *>self)
        try:
            return self.run_to_end(client, future)
        finally:
            end_in_place(here)

    cdef int run_to_end(self, ClientRings client, PendingFuture future) except -1:
        cdef uint64_t start_ns = now_ns()
        cdef uint8_t state = FUTURE_RAW
        cdef int flags = 0
        cdef int status = STATUS_OK
        cdef char small[256]
        cdef object value = None
        cdef object function = None
        cdef object stopped = None
        cdef size_t depth = len(self.chain)
        cdef MainBefore main = MainBefore()
        cdef TaskRun run = self.begin(future, main.count)
        try:
            function = self.function(client, future.function)
            self.chain.append(function)
            if stack_is_short():
                raise RecursionError(self.say_chain())
            self.interrupts.begin_limit(&run.limit, run.limit_ms, function)
            value = self.call(run, future, function, &status)
            if run.flags & FLAG_CHUNK:
                flags = FLAG_CHUNK | (FLAG_PLAIN if run.results.all_plain else 0)
            elif status == STATUS_OK and not self.runner.is_named(function):
                if plain_value(small, value):
                    state = FUTURE_DONE
                else:
                    value = self.runner.pack(run, function, value, &status)
            if type(value) is tuple and state == FUTURE_RAW:
                value = OwnCopy(pack_parts((<tuple>value)[0], (<tuple>value)[1]))
                flags |= FLAG_OBJECTS
        except self.interrupts.stop_with as error:    # the task that waits here is stopped, and this with it
            self.runner.end_if_forked(error)
            if run.is_stopped():                      # for its own limit: the task that waits goes on
                status, flags, state = STATUS_RAISED, 0, FUTURE_RAW
                value = run.describe_stop(function, error)
            else:
                stopped = error
                state, value = FUTURE_CANCELLED, None
        except RecursionError as error:
            self.runner.end_if_forked(error)
            status, flags, state = STATUS_RAISED, 0, FUTURE_RAW
            value = self.runner.describe(error, False)
        except BaseException as error:
            self.runner.end_if_forked(error)
            status, flags, state = STATUS_UNREADABLE, 0, FUTURE_RAW
            value = self.runner.describe(error, True)
        self.runner.end_if_forked()
        main.put_back()
        if run.is_stopped():                          # it has made something else of that
            status, flags, state = STATUS_RAISED, 0, FUTURE_RAW
            value = run.describe_stop(function, None)
        self.interrupts.end_limit(&run.limit)
        del self.chain[depth:]
        self.runs += max(future.items, <uint32_t>1)
        store_release(&self.interrupts.page.in_place, self.runs)
        future.duration_ns = now_ns() - start_ns
        future.cpu_us = <uint32_t>min(future.duration_ns // 1000, <uint64_t>0xFFFFFFFF)
        future.memory_peak_kib = peak_kib() if future.duration_ns > PEAK_NS else 0
        future.status, future.flags = <uint8_t>status, <uint8_t>flags
        client.notifier.complete(future, state, value)
        if client.notifier.unfinished:
            client.notifier.finish_late()
        if stopped is not None:
            raise stopped
        return 0

    cdef TaskRun begin(self, PendingFuture future, Py_ssize_t visits_before):
        cdef TaskRun run = TaskRun.__new__(TaskRun)
        run.interrupts, run.is_in_place = self.interrupts, True
        run.flags, run.items = future.flags, future.items
        run.pickled = future.payload
        run.payload, run.payload_bytes = PyBytes_AS_STRING(run.pickled), len(run.pickled)
        run.limit_ms = future.options.limit_ms if future.options is not None else 0
        run.visits_before = visits_before
        return run

    cdef object call(self, TaskRun run, PendingFuture future, object function, int *status):
        """What the runner makes of it. Meanwhile there is room for it on the stack, and the page says if it may not be tried
        again."""
        cdef bint is_last_run = future.options is not None and retries_in(future.options.word) == 0
        if is_last_run:
            self.last_runs += 1
            store_release(&self.interrupts.page.final, self.interrupts.page.attempt)
        Py_SetRecursionLimit(Py_GetRecursionLimit() + MORE_FRAMES)
        try:
            if run.flags & FLAG_OBJECTS:
                run.borrowed = self.copy_parts(run.pickled)
            if run.flags & FLAG_CHUNK:
                return self.runner.call_chunk(run, function)
            return self.runner.call(run, function, status)
        finally:
            Py_SetRecursionLimit(Py_GetRecursionLimit() - MORE_FRAMES)
            if is_last_run:
                self.last_runs -= 1
                if self.last_runs == 0:
                    store_release(&self.interrupts.page.final, 0)

    cdef object function(self, ClientRings client, uint32_t number):
        """The callable of this number, unpickled as elsewhere; whatever kept it from being one is raised."""
        cdef object function = self.functions.get(number)
        cdef bytes payload
        if function is None:
            _, payload, flags = client.functions.known[number]
            if flags & FLAG_REQUEST:
                payload, flags = cut_request(payload)[0], flags & ~FLAG_REQUEST
            function = self.load_function(payload, flags, self.copy_parts)
            self.functions[number] = function
        return as_callable_in_place(readable(function))

    cpdef tuple copy_parts(self, bytes payload):
        """(pickle, buffers, references) of a payload that names objects, all of it copied: nothing is borrowed here."""
        cdef list loans = []
        stream, buffers, references = borrow_all(self.mappings, PyBytes_AS_STRING(payload), len(payload), loans, False)
        return (bytes(stream), [bytearray(memoryview(buffer)) for buffer in buffers],
                [OwnCopy(bytes(memoryview((<Loan>reference).open(False)))) for reference in references])

    cdef str say_chain(self):
        cdef list names = [name_of_callable(function) for function in self.chain]
        cdef size_t depth = len(names)
        if depth > 2 * CHAIN_ENDS:
            names = names[:CHAIN_ENDS] + [f"... {depth - 2 * CHAIN_ENDS} more ..."] + names[-CHAIN_ENDS:]
        return (f"tasks that wait for tasks are nested {depth} deep, and the stack has no room for more: "
                + " -> ".join(names))
