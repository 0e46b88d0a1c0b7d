# PendingFuture: what a client keeps per open task, as small as it can be.
#
# concurrent.futures.Future makes a Condition, an RLock and a deque per future, and tens of thousands of those keep the
# garbage collector busy. Here the Condition is made when somebody waits or adds a callback, and the object is not tracked
# by the collector until then. scaler.client.future mixes this with the standard class, whose private attributes stand
# here as properties, so that `wait` and `as_completed` of the standard library work.
#
# Rule 1: once a Condition exists, what the standard library sees of the state changes only under it, and waiting threads
#         are told before it is released. The state itself changes at once.
# Rule 2: a future holds no exception that was raised. An exception holds the frames that it came through, these hold the
#         future, and the collector does not see the future: all of that would stay for ever. So the bytes are kept, and
#         `result` makes an exception of them each time. `exception` keeps what it gives out, since people compare it.
# Rule 3: a future that may be part of a cycle is tracked from then on: when it keeps what may refer to it (a result that
#         the collector knows, an exception, an attribute), and not before.
# Not here: how a future is done and which threads are told (notifier), how a thread waits for it (leadership).

from concurrent.futures import CancelledError as _CancelledError, TimeoutError as _TimeoutError
from concurrent.futures import InvalidStateError as _InvalidStateError
import copy as _copy
import threading as _threading

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *o)
    void PyObject_GC_Track(void *o)
    int PyObject_GC_IsTracked(object o)
    int PyObject_IS_GC(object o)
    int PyObject_GenericSetAttr(object o, object name, object value) except -1

cdef enum:
    FUTURE_PENDING = 0
    FUTURE_DONE = 1
    FUTURE_RAW = 2         # done; `value` is the result record's payload, not yet unpickled; (that, exception) once
                           # `exception` has given out what it is
    FUTURE_FAILED = 3      # done, without a result to unpickle; `value` is the exception, or a future that failed so
    FUTURE_CANCELLED = 4   # `value` says why, or is None: somebody has called `cancel`


@cython.final
cdef class QuickCallback:
    """A callback that only tells somebody, such as an event loop, and never waits.

    The client's background thread calls it, which serves everybody. All others have a thread for them. If the future has
    anything else than a result, the callback gets `view(future)` instead of the future.
    """
    cdef object fn, view

    def __init__(self, fn not None, view=None):
        self.fn, self.view = fn, view

    def __call__(self, PendingFuture future not None):
        self.fn(future if self.view is None or future.state == FUTURE_DONE else self.view(future))


cdef object anew(error):
    """The like of an exception that is raised again and again: each time it would hold more frames, and for ever."""
    try:
        made = _copy.copy(error)
    except Exception:              # its class takes other arguments than it says
        return error
    if type(made) is not type(error):
        return error
    made.__cause__, made.__suppress_context__ = error.__cause__, error.__suppress_context__
    return made


cdef class PendingFuture:
    cdef readonly uint64_t task_id
    cdef ClientRings client
    cdef object value
    cdef object condition
    cdef list waiters
    cdef list callbacks
    cdef bytes payload          # as submitted, for sending it again
    cdef MapProgress progress   # of the map this chunk belongs to
    cdef TaskOptions options    # as submitted
    cdef SentGraph graph        # of which it is a target, while it is open
    cdef list inputs            # futures that it names, while it is open
    cdef list dependants        # futures of tasks that were sent naming this one while it was open; None for a task without
    cdef readonly uint32_t items   # calls in this chunk; 0 for a single task
    cdef uint64_t duration_ns
    cdef uint32_t function
    cdef uint32_t served        # dependants that the scheduler has given the result
    cdef uint32_t memory_peak_kib
    cdef uint32_t cpu_us
    cdef uint16_t child         # where it stands among the children, + 1; 0: not there
    cdef uint8_t state
    cdef uint8_t is_hidden      # it is done, but the standard library is still to be told
    cdef uint8_t status
    cdef uint8_t is_recalled    # it is to be cancelled if no worker has begun it
    cdef uint8_t flags          # of the task, then of its result

    # what concurrent.futures.wait and as_completed look at

    @property
    def _condition(self):
        self.help()
        return self.make_condition()

    @property
    def _state(self):
        if self.state == FUTURE_PENDING or self.is_hidden:
            return "RUNNING"
        if self.state == FUTURE_CANCELLED:
            return "CANCELLED_AND_NOTIFIED"     # `wait` takes a merely CANCELLED one for still open
        return "FINISHED"

    @property
    def _waiters(self):
        if (self.state == FUTURE_PENDING or self.is_hidden) and self.client is not None:
            self.client.check_standard_wait(self)
        if self.waiters is None:
            self.waiters = []
        return self.waiters

    @property
    def function_name(self):
        """What people call its function; empty if its client is not known any more."""
        return self.client.name_of(self.function) if self.client is not None else ""

    @property
    def _done_callbacks(self):
        return self.callbacks if self.callbacks is not None else []

    @property
    def _result(self):
        self.settle()
        return self.value if self.state == FUTURE_DONE else None

    @property
    def _exception(self):
        return None if self.state == FUTURE_PENDING or self.state == FUTURE_CANCELLED else self.exception()

    def __setattr__(self, name, value):
        self.track()
        PyObject_GenericSetAttr(self, name, value)

    cdef inline void track(self) noexcept:
        """It may be part of a cycle from now on."""
        if not PyObject_GC_IsTracked(self):
            PyObject_GC_Track(<void *>self)

    cdef object make_condition(self):
        if self.condition is None:
            made = _threading.Condition()
            if self.condition is None:
                self.condition = made
                self.track()
                if self.state == FUTURE_PENDING and not isinstance(self, MapProgress):
                    self.client.notifier.on_watched()
        return self.condition

    cdef int help(self) except -1:
        """A thread is about to wait for this future in a way that runs no code of ours: in a task, see that it gets done."""
        if self.state == FUTURE_PENDING and self.client is not None:
            self.client.see_done(self)
        return 0

    # what everybody calls

    def is_of(self, ClientRings client):
        """Whether this is a task of that client."""
        return self.client is client

    @property
    def rings(self):
        """The client's side, of the client whose task this is."""
        return self.client

    @property
    def is_over(self):
        """Done, as far as anybody has looked."""
        return self.state != FUTURE_PENDING

    @property
    def has_lost_worker(self):
        """Over, because the worker died that ran it."""
        return self.state != FUTURE_PENDING and self.state != FUTURE_CANCELLED and self.status == STATUS_WORKER_DIED

    def done(self):
        if self.state == FUTURE_PENDING:
            self.client.look()
        return self.state != FUTURE_PENDING

    def running(self):
        return not self.done()

    def cancelled(self):
        return self.state == FUTURE_CANCELLED

    def result(self, timeout=None):
        if self.state == FUTURE_PENDING:
            self.client.wait_for(self, timeout)
        if self.state == FUTURE_DONE:
            return self.value
        error = self.make_error()
        if error is not None:
            raise error
        if self.state == FUTURE_CANCELLED:
            raise _CancelledError(self.why_cancelled())
        return self.value

    def exception(self, timeout=None):
        if self.state == FUTURE_PENDING:
            self.client.wait_for(self, timeout)
        if self.state == FUTURE_CANCELLED:
            raise _CancelledError(self.why_cancelled())
        if self.state == FUTURE_FAILED:
            return (<PendingFuture>self.value).exception() if isinstance(self.value, PendingFuture) else self.value
        if self.state == FUTURE_RAW and type(self.value) is not tuple:
            error = self.settle()
            if error is not None and self.state == FUTURE_RAW and type(self.value) is not tuple:
                self.value = self.value, error
                self.track()
        return (<tuple>self.value)[1] if self.state == FUTURE_RAW else None

    cdef str why_cancelled(self):
        said = f"task {self.task_id:#x} was cancelled"
        return said if self.value is None else f"{said}: {self.value}"

    def make_error(self):
        """The exception it has failed with, another one each time; None if it has not."""
        if self.state == FUTURE_RAW:
            return self.settle()
        if self.state != FUTURE_FAILED:
            return None
        return (<PendingFuture>self.value).make_error() if isinstance(self.value, PendingFuture) else anew(self.value)

    def cancel(self):
        """Cancelled at once unless the result was here already; never blocks."""
        if self.state == FUTURE_PENDING:
            self.client.look()
        if self.state == FUTURE_PENDING:
            self.client.cancels.cancel(self.client, self)
        return self.state == FUTURE_CANCELLED

    @property
    def profile(self):
        """(duration in ns, CPU time in us, memory peak in KiB), as the worker measured."""
        return self.duration_ns, self.cpu_us, self.memory_peak_kib

    def add_done_callback(self, fn):
        """Call fn(future) when done: in the client's thread for callbacks, or here and now if it is done already."""
        cdef list made = []             # before anybody looks: making it may run a finalizer, which may end the future
        self.help()
        with self.make_condition():
            if self.state == FUTURE_PENDING:
                if self.callbacks is None:
                    self.callbacks = made
                self.callbacks.append(fn)
                return
        self.call_back(fn)

    cdef call_back(self, fn):
        try:
            fn(self)
        except Exception:
            self.client.notifier.on_callback_error(self)

    cdef run_callbacks(self, list callbacks):
        stop = None
        for fn in callbacks:
            if self.client.connection.abandoned:
                return                             # one of them has forked: the others are called in the parent
            try:
                self.call_back(fn)
            except BaseException as error:         # SystemExit, KeyboardInterrupt: not before the others were called
                stop = stop or error
        if stop is not None:
            raise stop

    cdef object settle(self):
        """Unpickle what is still bytes, in the thread that asks for it and outside of any role.

        Keeps a result; an exception, that of unpickling included, is only returned.
        """
        if self.state != FUTURE_RAW:
            return None
        try:
            outcome = self.load_with(self.client.load)
        except Exception as error:
            return error
        if self.status != STATUS_OK:
            return outcome
        if self.state == FUTURE_RAW:       # another thread may have been faster
            if PyObject_IS_GC(outcome):
                self.track()
            self.value = outcome
            self.state = FUTURE_DONE
        return None

    cdef object load_with(self, load):
        """What `load` makes of the record of its result."""
        raw = self.value
        if type(raw) is tuple:
            raw = (<tuple>raw)[0]
        return load(self.status, self.flags, raw, self.task_id, self.items,
                    self.client.name_of(self.function) if self.status == STATUS_WORKER_DIED else "")

    def read_with(self, load):
        """The result as `load` reads it, which is called as the client's own is. Raises what has ended it without one."""
        return self.load_with(load) if self.state == FUTURE_RAW else self.result()

    cdef abandon(self):
        """In a forked child: nobody will end it here. A thread of the parent may hold its lock, so there is a new one."""
        self.condition = self.waiters = self.callbacks = None
        self.value = "it belongs to the process that forked"
        self.state = FUTURE_CANCELLED
        self.is_hidden = False

    cdef inline void end(self, uint8_t state, object value):
        """It is this from now on, and keeps nothing for being sent again. Tells nobody."""
        self.value = value
        self.state = state
        self.payload = None
        self.inputs = None
        self.graph = None
        self.progress = None        # which knows the map's other chunks
        if state == FUTURE_FAILED:
            self.track()

cdef class MapProgress(PendingFuture):
    """What a thread in `map` waits for: done whenever a chunk of that map has ended since `wait` was called last."""
    cdef readonly list ended
    cdef object chunks          # that are under way, oldest first

    def __init__(self, ClientRings client not None, chunks=()):
        self.client = client
        self.ended = []
        self.chunks = chunks

    cdef int on_end(self, PendingFuture chunk) except -1:
        self.ended.append(chunk)
        if self.state == FUTURE_PENDING:
            self.client.notifier.complete(self, FUTURE_DONE, None)
        return 0

    def wait(self, timeout=None):
        """Wait until a chunk has ended; the chunks that have, in the order of their ends. TimeoutError after so many
        seconds without any."""
        while not self.ended:
            self.state = FUTURE_PENDING
            if not self.ended:
                self.client.wait_for_chunk(self, timeout)
        ended, self.ended = self.ended, []
        return ended
