# Completions: futures of one client that somebody takes in the order in which they end.
#
# The standard library's `as_completed` gives each future a condition, a lock and a place in a list of waiters, and has
# another thread tell of each. Here a future only refers to what is to hear of its end, as the chunks of a map do: the
# thread that takes the results off the ring notes each that it ends, and one wait stands for all of them.
#
# Rule 1: a future has one place for what is to hear of its end. If several are to hear of it, that is a ProgressFork.
# Rule 2: a listener that stops before all have ended says so (`let_go`): else the futures keep it, and it keeps them.
# Not here: the order in which they are handed out, and futures of others (scaler.client.completed).


@cython.final
cdef class ProgressFork(MapProgress):
    """Tells two of them of an end."""
    cdef MapProgress first, second

    cdef int on_end(self, PendingFuture future) except -1:
        self.first.on_end(future)
        return self.second.on_end(future)

    cdef MapProgress without(self, MapProgress gone):
        """What is left when this one does not listen any more."""
        if self.first is gone:
            return self.second
        if self.second is gone:
            return self.first
        if type(self.first) is ProgressFork:
            self.first = (<ProgressFork>self.first).without(gone)
        if type(self.second) is ProgressFork:
            self.second = (<ProgressFork>self.second).without(gone)
        return self


@cython.final
cdef class Completions(MapProgress):
    """`wait` gives those that have ended since; `open` are the others."""
    cdef readonly dict open

    def __init__(self, ClientRings client not None):
        MapProgress.__init__(self, client)
        self.open = {}
        self.chunks = self.open

    def watch(self, futures not None):
        """Hear of the ends of these. Those that have ended count as having ended now."""
        cdef PendingFuture future
        cdef ProgressFork fork
        self.client.look()
        for future in futures:
            self.open[future] = None
            while True:
                fork = ProgressFork.__new__(ProgressFork) if future.progress is not None else None
                # Making it may have run a finalizer, which may have looked for results, or listen itself by now. From
                # here on nobody's code runs.
                if future.state != FUTURE_PENDING:
                    self.ended.append(future)
                elif future.progress is None:
                    future.progress = self
                elif fork is not None:
                    fork.first, fork.second = future.progress, self
                    future.progress = fork
                else:
                    continue
                break

    def wait(self, timeout=None):
        cdef list ended = MapProgress.wait(self, timeout)
        for future in ended:
            self.open.pop(future, None)
        return ended

    def let_go(self):
        """Listen no more."""
        cdef PendingFuture future
        for future in self.open:
            if future.progress is self:
                future.progress = None
            elif type(future.progress) is ProgressFork:
                future.progress = (<ProgressFork>future.progress).without(self)
        self.open.clear()
