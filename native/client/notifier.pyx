# Notifier: futures of a client that are done, and how the threads hear of it that look at them.
#
# A future is done at once, whichever thread has taken its result. What else looks at it hears of it so:
#
#   a thread in result() or exception()            by the future's condition, from any thread that gets hold of that
#   wait and as_completed of concurrent.futures    by their own locks, from the client's background thread only
#   a quick callback (asyncio's)                   is called by the background thread
#   any other callback                             is called by a thread for these (scaler/client/callbacks.py)
#
# Rule 1: the future's condition may be held by a thread that waits for ours, or by code below on this very stack. So no
#         thread waits for a condition in order to tell, and none tells while it is held. Until it is told
#         (`finish_late`) the standard library sees the future running.
# Rule 2: the standard library's locks may be held by the code that the handler of a signal has interrupted. So only the
#         background thread tells threads that wait that way: it runs no handlers.
# Not here: what a future is (future), taking results (results).

cdef extern from "Python.h":
    int PyGC_Disable()
    int PyGC_Enable()


@cython.final
cdef class Notifier:
    cdef WakeUp background            # wakes the background thread
    cdef bint is_resting              # the background thread sleeps until something is open
    cdef unsigned long background_id  # of the background thread, once it has been seen
    cdef bint is_telling              # the background thread is telling somebody
    cdef readonly uint64_t watched    # futures that somebody waits for, or has added a callback to
    cdef object unfinished            # futures that are done, and of which somebody is still to be told
    cdef object to_tell               # (future that is done, its quick callbacks)
    cdef object to_call               # (future that is done, its other callbacks)
    cdef readonly WakeUp call_event   # set when there are other callbacks to call
    cdef public bint has_caller       # there is a thread for other callbacks
    cdef object callback_error
    cdef bint has_moved               # something has ended since this was last set back (for WorkerClientRings.stuck)

    def __cinit__(self, WakeUp background not None, callback_error not None):
        self.background, self.callback_error = background, callback_error
        self.unfinished, self.to_tell, self.to_call = _collections.deque(), _collections.deque(), _collections.deque()
        self.call_event = WakeUp()

    # the background thread

    cdef inline int wake_resting(self) except -1:
        """There is something to do for the background thread, should it rest."""
        if self.is_resting:
            self.is_resting = False
            self.background.set()
        return 0

    cdef inline bint is_background(self) noexcept:
        """Whether this is the background thread."""
        return self.background_id == PyThread_get_thread_ident()

    @property
    def needs_caller(self):
        """Whether there are callbacks to run, and no thread for them."""
        return len(self.to_call) > 0 and not self.has_caller

    @property
    def has_untold(self):
        """Whether somebody is still to be told that a future is done."""
        return len(self.unfinished) > 0

    cdef on_watched(self):
        """Somebody looks at one more future in a way that needs to be told."""
        self.watched += 1
        self.background.set()

    cdef int check_wait(self, PendingFuture future) except -1:
        """RuntimeError if this is the background thread, which would wait until it tells itself."""
        if self.is_background():
            raise RuntimeError(f"task {future.task_id:#x} cannot be waited for in this way in the client's own thread, "
                               "where the collector has run a finalizer, or a callback for which there was no thread: "
                               "that thread tells those who wait with concurrent.futures. Use result() or exception()")
        return 0

    # futures that are done

    cdef int complete(self, PendingFuture future, uint8_t state, object value) except -1:
        """This future, which is open no more, is done."""
        cdef MapProgress progress = future.progress
        cdef bint collects
        self.has_moved = True
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
        """Give the callbacks of a future that is done to the threads that call them."""
        cdef list quick = [], others = []
        for fn in future.callbacks:
            (quick if type(fn) is QuickCallback else others).append(fn)
        future.callbacks = None
        if quick:
            self.to_tell.append((future, quick))
            self.background.set()
        if others:
            self.to_call.append((future, others))
            self.call_event.set()
            if not self.has_caller:
                self.background.set()                 # the background thread starts the thread for them
        return 0

    # telling

    cdef int finish_late(self) except -1:
        """Tell the threads that look at futures which are done; not of a future whose condition is held just now."""
        cdef PendingFuture future
        cdef list waiters
        cdef Py_ssize_t i
        cdef bint is_background = self.is_background()
        for i in range(len(self.unfinished)):
            if not self.unfinished:
                break
            future = self.unfinished[0]
            if ((future.waiters and (not is_background or self.is_telling or is_any_busy(future.waiters)))
                    or future.condition._is_owned() or not future.condition.acquire(False)):
                self.unfinished.rotate(-1)
                if not is_background:
                    self.background.set()
                continue
            try:
                waiters = list(future.waiters or ())
                if not self.unfinished or self.unfinished[0] is not future or (waiters and not is_background):
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
        self.is_telling = True
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
        self.is_telling = False
        if stop is not None:
            raise stop
        return 0

    # callbacks

    cdef run_quick_callbacks(self):
        """For the background thread."""
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

    cdef on_callback_error(self, future):
        self.callback_error(future)

    # ends

    cdef void abandon(self):
        """In a forked child: the threads that were to be told are the parent's."""
        self.is_resting = self.is_telling = self.has_caller = False
        self.to_tell.clear()
        self.to_call.clear()
        self.unfinished.clear()
        self.watched = 0


cdef bint is_any_busy(list waiters) except -1:
    """Whether a lock of what the standard library waits with is held: telling it now would wait for that lock."""
    for waiter in waiters:
        for lock in (getattr(waiter, "lock", None), getattr(getattr(waiter.event, "_cond", None), "_lock", None)):
            if lock is not None and lock.locked():
                return True
    return False
