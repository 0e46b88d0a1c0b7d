# TaskRunner: how a task is run: its arguments are unpickled, it is called, its result is pickled. Once for both places.
#
# A worker runs tasks that it has claimed (worker.pyx), and a task that waits for another may run that one on its own
# stack (nested.pyx). A task must not notice in which way it runs, so both go through here. A TaskRun says what one task
# was given, and what differs:
#
#                          claimed by the worker                     in place of waiting for it
#
#   objects of the task    lent for as long as it runs               copied
#   to be stopped          for the attempt that the page names       for a time limit of its own. For the attempt, it is
#                                                                    the task that waits, and this one with it
#   time limit             the page has it                           the page has the one that ends first
#
# Rule 1: whatever a task's code raises is the task's. Only what stops the task that waits is raised on, through here.
# Rule 2: a copy of the process that the code has forked ends where that code does (forked), before all else.
# Rule 3: each call of a chunk has its own result, time limit and names from `__main__`. One that fails, or takes too
#         long, does not stop the others.
#         Those of a map that wants them at once wait together: each has its own result, and the chunk's time limit is
#         that of all, since all begin with it.
# Rule 4: what a task was given is dropped before its code runs: it then lives as long as the arguments do.
# Not here: where a task comes from and its result goes (worker, nested), what an exception looks like on its way
# (handed in as `describe`).

from functools import partial as _partial
from types import CoroutineType as _Coroutine


cdef class Unreadable:
    """Stands where a function should be that could not be unpickled."""
    cdef readonly object error
    cdef object traceback

    def __init__(self, error):
        self.error = error
        self.traceback = error.__traceback__


cdef inline object readable(object function):
    """The function; what kept it from being one is raised."""
    if type(function) is Unreadable:
        # With the traceback it came with: each time it is raised it gets longer.
        raise (<Unreadable>function).error.with_traceback((<Unreadable>function).traceback)
    return function


@cython.final
@cython.freelist(16)
cdef class TaskRun:
    """A task that runs here: what it was given, and how its code is let run, and stopped."""
    cdef Interrupts interrupts
    cdef bint is_in_place
    cdef int flags               # of its record
    cdef uint32_t items
    cdef const char *payload
    cdef size_t payload_bytes
    cdef bytes pickled           # the payload as an object, if there is one
    cdef tuple borrowed          # (pickle, buffers, references) of a payload that names objects, until they are used
    cdef list loans              # what was lent for it, in the order of the payload's places
    cdef ChunkCalls calls
    cdef ChunkResults results
    cdef uint32_t limit_ms       # of one that runs in place
    cdef CallLimit limit
    cdef Py_ssize_t visits_before    # how many names from `__main__` the task that waits was brought

    # its code

    cdef inline int begin_code(self) except -1:
        """Code of the task's own comes now."""
        return 0 if self.is_in_place else self.interrupts.let_stop()

    cdef inline void end_code(self) noexcept:
        """It has returned, or raised."""
        if not self.is_in_place:                      # else it is still the code of the task that waits
            self.interrupts.stoppable = False

    cdef inline bint is_stopped(self) noexcept:
        """Whether it was stopped, whatever it has made of that."""
        return self.interrupts.stopped and (not self.is_in_place or self.interrupts.is_own_stop(&self.limit))

    cdef inline bint stops_another(self, error) except -1:
        """Whether this error is meant for the task that waits."""
        return self.is_in_place and isinstance(error, self.interrupts.stop_with) and not self.is_stopped()

    cdef object describe_stop(self, function, error):
        """What it has to say when it was stopped."""
        if self.is_in_place:
            return self.interrupts.describe_own_stop(function, error)
        return self.interrupts.describe_stop(function, error)

    # the calls of a chunk

    cdef inline bint has_call_limit(self) noexcept:
        """Whether a time limit begins anew with each call."""
        return (self.limit.since_ns if self.is_in_place else self.interrupts.page.limit_ns) != 0

    cdef int begin_next_call(self, function) except -1:
        """The time limit is each call's."""
        if not self.is_in_place:
            store_release(&self.interrupts.page.since_ns, now_ns())
        else:
            self.interrupts.end_limit(&self.limit)
            self.interrupts.begin_limit(&self.limit, self.limit_ms, function)
        return 0

    cdef object end_stopped_call(self, function, error):
        """What such a call has to say; the next one goes on, unless nobody wants any more of this task."""
        cdef object description
        if not self.is_in_place and self.interrupts.stopped == STOPPED_UNWANTED:
            raise self.interrupts.stop_with
        description = self.describe_stop(function, error)
        self.interrupts.stopped = NOT_STOPPED
        return description

    cdef inline int end_names(self) except -1:
        """What the arguments of this call have brought from a `__main__` is not there for the next."""
        if visits:
            if self.is_in_place:
                end_visits(self.visits_before)
            else:
                end_all_visits()
        return 0

    # what it was given

    cdef inline tuple take_borrowed(self):
        """Once: the taker says how long the objects are looked at."""
        cdef tuple borrowed = self.borrowed
        self.borrowed = None
        return borrowed

    cdef tuple take_parts(self):
        """(pickle, the buffers it left out, the objects of its references, the inputs) of a payload that is more than a
        pickle."""
        cdef size_t end = 0
        cdef object inputs = ()
        cdef object stream = None
        cdef object buffers = ()
        cdef object references = ()
        if self.flags & FLAG_OBJECTS:
            stream, buffers, references = self.take_borrowed()
        if self.flags & FLAG_INPUTS:
            inputs = unpack_inputs(self.payload, self.payload_bytes, self.flags, self.loans, &end)
            if type(stream) is bytes or stream is None:       # else it is an object of its own
                stream = PyBytes_FromStringAndSize(self.payload + end, self.payload_bytes - end)
        return stream, buffers, references, inputs

    cdef inline int drop(self) except -1:
        """It is over: nothing that it was given is kept here."""
        self.borrowed = None
        if self.calls is not None:
            self.calls.loads = None
        return 0


cdef enum:                       # what has become of a call of a chunk whose calls wait together
    ENDED_WELL = 0
    HAS_RAISED = 1
    IS_UNREADABLE = 2
    WAS_STOPPED = 3


@cython.final
cdef class NextCall:
    """The calls of a chunk, one with each call of this: (what has become of it, or ENDED_WELL, value or error)."""
    cdef ChunkCalls calls
    cdef object function

    def __cinit__(self, ChunkCalls calls, function):
        self.calls, self.function = calls, function

    def __call__(self):
        value = self.calls.call_next(self.function)
        if type(value) is Unreadable:
            return IS_UNREADABLE, (<Unreadable>value).error
        return ENDED_WELL, value


cdef class TaskRunner:
    """What tasks of one worker are run with; how to read and write payloads, and to describe errors, is handed in."""
    cdef object loads, loads_parcel, load_input, dumps, describe, finish
    cdef object named_call       # the type of a named function here: its arguments and results are not pickles
    cdef object finish_all, at_once_code
    cdef unsigned int forks      # there had been so many when it began: a forked copy of the process counts more

    def __init__(self, *, loads, loads_parcel, load_input, dumps, describe, finish=None, named_call=None,
                 finish_all=None, at_once_code=None):
        global finish_coroutine
        finish_coroutine = finish                     # for the calls in a piece of a graph
        self.loads, self.loads_parcel, self.load_input = loads, loads_parcel, load_input
        self.dumps, self.describe, self.finish = dumps, describe, finish
        self.named_call = named_call
        self.finish_all, self.at_once_code = finish_all, at_once_code
        self.forks = forks_so_far

    cdef inline int end_if_forked(self, error=None) except -1:
        """A task's code has returned, or raised `error`: that is the end of a copy of the worker that it has forked."""
        if forks_so_far != self.forks:
            end_forked(error)
        return 0

    cdef object call(self, TaskRun run, object function, int *status):
        """What the one call returns, or what it raised, described. Raises if its arguments could not be read."""
        cdef object arguments = NotImplemented
        cdef object value
        if type(function) is self.named_call:
            return self.call_named(run, function, status)
        if not run.flags & ~(FLAG_PROFILE | FLAG_OUTPUT):
            arguments = read_plain(run.payload, run.payload_bytes)
        run.begin_code()
        if arguments is NotImplemented:
            arguments = self.read_arguments(run)
        try:
            if run.flags & FLAG_KEYWORDS:
                value = function(*arguments[0], **arguments[1])
            else:
                value = function(*arguments)
            if type(value) is _Coroutine:
                value = self.finish(value)
            run.end_code()
            if not run.is_stopped():
                return value
            status[0] = STATUS_RAISED
            return run.describe_stop(function, None)
        except BaseException as error:
            return self.failure(run, function, error, status)

    cdef inline bint is_named(self, object function):
        """What it returns is the result's payload, and no value to be pickled."""
        return type(function) is self.named_call

    cdef object call_named(self, TaskRun run, object function, int *status):
        """The bytes of what a named function returned, or of what it raised. Raises if the payload is not just bytes."""
        cdef object data = run.pickled
        if run.flags & (FLAG_CHUNK | FLAG_INPUTS | FLAG_KEYWORDS):
            raise ValueError("a named function takes one call with one text for its arguments")
        if run.flags & FLAG_OBJECTS:
            data = run.take_borrowed()[0]
        elif data is None:
            data = PyBytes_FromStringAndSize(run.payload, run.payload_bytes)
        run.begin_code()
        try:
            is_good, value = function.call(data, self.finish)
            run.end_code()
            if not run.is_stopped():
                status[0] = STATUS_OK if is_good else STATUS_RAISED
                return value
            status[0] = STATUS_RAISED
            return run.describe_stop(function, None)
        except BaseException as error:
            return self.failure(run, function, error, status)

    cdef object pack(self, TaskRun run, object function, object value, int *status):
        """The pickle of a result, or the description of what pickling it raised."""
        try:
            run.begin_code()
            value = self.dumps(value)
            run.end_code()
            if not run.is_stopped():
                return value
            status[0] = STATUS_RAISED
            return run.describe_stop(function, None)
        except BaseException as error:
            return self.failure(run, function, error, status)

    cdef object failure(self, TaskRun run, object function, object error, int *status):
        """The description of what the task's code has raised; raises what is meant for the task that waits."""
        run.end_code()
        self.end_if_forked(error)
        if run.stops_another(error):
            raise error
        status[0] = STATUS_RAISED
        return run.describe_stop(function, error) if run.is_stopped() else self.describe(error, False)

    cdef object read_arguments(self, TaskRun run):
        """The arguments of a task that are not plain values."""
        cdef bytes plain
        cdef object arguments = NotImplemented
        if not run.flags & (FLAG_OBJECTS | FLAG_INPUTS):
            return self.loads(PyBytes_FromStringAndSize(run.payload, run.payload_bytes)
                              if run.pickled is None else run.pickled)
        stream, buffers, references, inputs = run.take_parts()
        if run.flags & FLAG_INPUTS and type(stream) is bytes and not run.flags & FLAG_KEYWORDS:
            plain = stream
            arguments = read_template(PyBytes_AS_STRING(plain), len(plain), inputs, self.load_input)
        if arguments is NotImplemented:
            arguments = self.loads_parcel(stream, buffers, references, inputs)
        return arguments

    # a chunk: several calls of one map

    cdef object call_chunk(self, TaskRun run, object function):
        """The results of all its calls. Raises if the chunk could not be read at all, or is to be stopped."""
        cdef ChunkCalls calls
        cdef ChunkResults results
        cdef const unsigned char[:] data
        cdef object loads = self.loads
        cdef list kept = []
        cdef object value
        cdef object error = None
        cdef object at_once = None
        cdef uint32_t i
        if run.calls is None:
            run.calls, run.results = ChunkCalls(), ChunkResults()
        calls, results = run.calls, run.results
        if run.flags & (FLAG_OBJECTS | FLAG_INPUTS):
            stream, buffers, references, inputs = run.take_parts()
            loads = _partial(self.loads_parcel, buffers=iter(buffers), references=references, inputs=inputs)
            buffers = references = inputs = None
            data = stream
            calls.begin(<const char *>&data[0], data.shape[0], run.items, run.flags & FLAG_PLAIN, loads)
        else:
            calls.begin(run.payload, run.payload_bytes, run.items, run.flags & FLAG_PLAIN, loads)
        results.begin()
        for i in range(run.items):
            if i and run.has_call_limit():
                run.begin_next_call(function)
            try:                                      # here, not in a function: that costs what a short call does
                run.begin_code()
                value = calls.call_next(function)
                if type(value) is _Coroutine:
                    if self.finish_all is not None and value.cr_code is self.at_once_code:
                        at_once = value               # with all calls after it
                        run.end_code()
                        break
                    value = self.finish(value)
                if type(value) is not Unreadable and not run.is_stopped() and not results.add_plain(value):
                    value = self.dumps(value)
                    run.end_code()
                    if not run.is_stopped():
                        if type(value) is tuple:
                            kept += (<tuple>value)[1]
                            value = (<tuple>value)[0]
                        results.add(STATUS_OK, value)
                run.end_code()
                if type(value) is Unreadable and not run.is_stopped():
                    self.end_if_forked((<Unreadable>value).error)
                    results.add(STATUS_UNREADABLE, self.describe((<Unreadable>value).error, True))
            except BaseException as raised:
                run.end_code()
                error = raised
                self.end_if_forked(error)
                if run.stops_another(error):
                    raise
                if not run.is_stopped():
                    results.add(STATUS_RAISED, self.describe(error, False))
            self.end_if_forked()
            if run.is_stopped():
                results.add(STATUS_RAISED, run.end_stopped_call(function, error))
            error = None
            run.end_names()
        if at_once is not None:
            self.call_at_once(run, function, at_once, run.items - i, kept)
        value = results.finish()
        return (value, kept) if kept else value

    cdef int call_at_once(self, TaskRun run, object function, object first, uint32_t count, list kept) except -1:
        """The results of the last `count` calls of a chunk, which may wait together; the first has given a coroutine."""
        cdef ChunkResults results = run.results
        cdef object stopped = None
        cdef object outcomes = ()
        cdef object value
        cdef int what
        try:
            run.begin_code()
            outcomes = self.finish_all(first, NextCall(run.calls, function), count)
            run.end_code()
        except BaseException as error:
            run.end_code()
            self.end_if_forked(error)
            raise
        self.end_if_forked()
        if run.is_stopped():
            for what, value in outcomes:
                if what == WAS_STOPPED:
                    stopped = value
                    break
            stopped = run.end_stopped_call(function, stopped)
        for what, value in outcomes:
            if what == ENDED_WELL and not results.add_plain(value):
                try:
                    run.begin_code()
                    value = self.dumps(value)
                    run.end_code()
                    if type(value) is tuple:
                        kept += (<tuple>value)[1]
                        value = (<tuple>value)[0]
                    if not run.is_stopped():
                        results.add(STATUS_OK, value)
                except BaseException as error:
                    run.end_code()
                    self.end_if_forked(error)
                    if run.stops_another(error):
                        raise
                    if not run.is_stopped():
                        results.add(STATUS_RAISED, self.describe(error, False))
                if run.is_stopped():
                    results.add(STATUS_RAISED, run.end_stopped_call(function, None))
            elif what == WAS_STOPPED and stopped is not None:
                results.add(STATUS_RAISED, stopped)
            elif what == IS_UNREADABLE:
                results.add(STATUS_UNREADABLE, self.describe(value, True))
            elif what != ENDED_WELL:
                results.add(STATUS_RAISED, self.describe(value, False))
        run.end_names()
        return 0
