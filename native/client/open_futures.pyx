# OpenFutures: the futures of a client's open tasks, found by the task's number.
#
# Numbers count up, so this is a window that slides: pages of 4,096 consecutive numbers, each given up with its last
# open future. It also gives out the numbers.
#
# Rule 1: `add` calls nothing of Python's: it stands between the reserving and the committing of a record.
# Not here: what a future is (future), which thread looks for results (leadership).

cdef class FuturePage:
    """The open futures of 4,096 consecutive numbers; None where there is none."""
    cdef list futures
    cdef uint32_t open

    def __cinit__(self):
        self.futures = [None] * FUTURE_PAGE


@cython.final
cdef class OpenFutures:
    """Open futures by number."""
    cdef dict pages                 # page number -> FuturePage; those without open futures go, but for the last
    cdef FuturePage last
    cdef uint64_t last_page_number
    cdef uint64_t next_number
    cdef uint64_t count             # of open futures

    def __cinit__(self):
        self.pages = {}
        self.last_page_number = <uint64_t>-1
        self.next_number = 1

    cdef int make_place(self) except -1:
        """See to it that the next number has a place. Making one may run a finalizer, which may submit: look again then."""
        cdef uint64_t number
        cdef FuturePage page
        while self.next_number // FUTURE_PAGE != self.last_page_number:
            page = FuturePage()
            number = self.next_number // FUTURE_PAGE
            if number == self.last_page_number:
                break
            if self.last is not None and self.last.open == 0:
                del self.pages[self.last_page_number]
            self.last = self.pages[number] = page
            self.last_page_number = number
        return 0

    cdef inline void add(self, PendingFuture future) noexcept:
        """The future of the next number, for which make_place has been called."""
        self.last.futures[self.next_number % FUTURE_PAGE] = future
        self.last.open += 1
        self.count += 1
        self.next_number += 1

    cdef PendingFuture take(self, uint64_t number):
        """The open future of this number, which is open no more; None if there is none."""
        cdef FuturePage page = self.pages.get(number // FUTURE_PAGE)
        cdef object future
        if page is None:
            return None
        future = page.futures[number % FUTURE_PAGE]
        if future is None:
            return None
        page.futures[number % FUTURE_PAGE] = None
        page.open -= 1
        self.count -= 1
        if page.open == 0 and page is not self.last:
            del self.pages[number // FUTURE_PAGE]
        return future

    cdef PendingFuture find(self, uint64_t number):
        """The open future of this number; None if there is none."""
        cdef FuturePage page = self.pages.get(number // FUTURE_PAGE)
        return None if page is None else page.futures[number % FUTURE_PAGE]

    cdef set graphs(self):
        """Those that they are targets of."""
        cdef PendingFuture future
        return {future.graph for future in self.all() if future.graph is not None}

    cdef list all(self):
        """All that are open now."""
        cdef FuturePage page
        return [future for page in list(self.pages.values()) for future in page.futures if future is not None]

    cdef bint any_held(self) except -1:
        """Whether somebody else refers to one of them, or has asked to be called. Ends at the first that is found.

        A future that names another and the one that it names refer to each other: that does not count.
        """
        cdef FuturePage page
        cdef PendingFuture future
        cdef dict among = None
        cdef Py_ssize_t i
        for page in list(self.pages.values()):
            for i in range(FUTURE_PAGE):
                if page.futures[i] is not None:
                    future = page.futures[i]
                    if future.callbacks or future.waiters:
                        return True
                    if Py_REFCNT(future) > 2:         # the page's, and ours
                        if future.inputs is None and future.dependants is None:
                            return True
                        if among is None:
                            among = self.count_among()
                        if Py_REFCNT(future) > 2 + <Py_ssize_t>among.get(future.task_id, 0):
                            return True
        return False

    cdef dict count_among(self):
        """Task -> how often others refer to its future, as inputs or as dependants."""
        cdef PendingFuture future
        cdef PendingFuture one
        cdef dict count = {}
        cdef dict named = {}
        cdef set seen = set()                         # a list may be that of several futures
        for future in self.all():
            named[future.task_id] = future
            if future.inputs is None or id(future.inputs) in seen:
                continue
            seen.add(id(future.inputs))
            for one in future.inputs:
                count[one.task_id] = count.get(one.task_id, 0) + 1
                named[one.task_id] = one              # which may have ended
        for future in named.values():
            for one in future.dependants or ():
                if one is not None:
                    count[one.task_id] = count.get(one.task_id, 0) + 1
        return count

    cdef void forget_all(self):
        self.pages.clear()
        self.last = None
        self.last_page_number = <uint64_t>-1
        self.count = 0
