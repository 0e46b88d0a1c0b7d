# Mains: which `__main__` a worker has, from task to task.
#
# What comes by value from a program's `__main__` is an attribute of a module of that name in the worker, one for each
# program, which has nothing else. So it can be pickled by name there, and multiprocessing finds it. Which of these
# modules is `sys.modules["__main__"]` follows from what runs: that of the function, or of what its arguments have
# brought; else one in which there is nothing.
#
#   FromMain   a kept function and the names that came with it. They are set when it runs after another has.
#   MainVisit  a name that is there until the task ends: it came with the arguments, with a result that the task has
#              read, with a function that is made anew for each call, or with one that runs in place of waiting for it.
#
# Each thread has visits of its own: those of a task that runs in place end with it, on whichever thread that is.
#
# Rule 1: a task whose function and arguments did not come from a `__main__` pays two comparisons.
# Rule 2: what a function or the arguments have brought does not stay beyond them: it may hold large objects.
# Not here: which modules there are (scaler.values.mains), what comes by value (scaler.values.by_value).

cdef object _NOTHING = object()
cdef dict _modules = _sys.modules
cdef object clean_main = None    # the one in which there is nothing; None: this process is no worker
cdef bint has_program = False    # `__main__` is a program's
cdef void *entered = NULL        # the FromMain whose names were set last
cdef uint64_t entries = 0        # how often a function was entered that does not run in place
cdef dict visits = {}            # thread -> its MainVisits, in the order of their coming; none for a thread that has none
cdef uint64_t visits_so_far = 0


@cython.final
@cython.freelist(16)
cdef class MainVisit:
    cdef object module, value
    cdef object before               # the value that the name had
    cdef str name
    cdef uint64_t number


def begin_mains(module not None):
    """This process is a worker: its `__main__` is this module, which has nothing, unless a program's is needed."""
    global clean_main
    clean_main = _modules["__main__"] = module


def visit_main(module not None, str name not None, value):
    """This came by value from the `__main__` that the module stands for. It is there until the task ends."""
    add_visit(module, name, value)


cdef int add_visit(object module, str name, object value) except -1:
    global has_program, entered, visits_so_far
    cdef dict there = module.__dict__
    cdef MainVisit visit = MainVisit.__new__(MainVisit)
    cdef object thread = PyThread_get_thread_ident()
    cdef list own = visits.get(thread)
    if own is None:
        own = visits[thread] = []
    visits_so_far += 1
    visit.module, visit.name, visit.value, visit.number = module, name, value, visits_so_far
    visit.before = there.get(name, _NOTHING)
    own.append(visit)
    there[name] = value
    _modules["__main__"] = module
    has_program, entered = True, NULL
    return 0


cdef inline Py_ssize_t number_of_visits() except -1:
    return 0 if not visits else len(visits.get(PyThread_get_thread_ident(), ()))


def count_visits():
    """How many this thread has: what comes after these has come with what is unpickled now."""
    return number_of_visits()


def from_main(function, Py_ssize_t count):
    """The function; with the names that this thread was brought after so many visits, if it was brought any."""
    cdef dict names
    cdef list own = visits.get(PyThread_get_thread_ident())
    cdef MainVisit visit
    cdef object module = None
    cdef Py_ssize_t i
    if own is None or len(own) <= count:
        return function
    names = {}
    for i in range(count, len(own)):
        visit = own[i]
        module, names[visit.name] = visit.module, visit.value
    end_visits(count)
    return FromMain(function, module, names)


cdef int end_visits(Py_ssize_t count) except -1:
    """Those of this thread after the first `count` end."""
    return end_visits_of(PyThread_get_thread_ident(), count) if visits else 0


cdef int end_all_visits() except -1:
    """The worker's task has ended, and with it what its threads were brought; not what still runs in place on another."""
    end_visits(0)
    for thread in list(visits):
        if not runs_in_place(thread):
            end_visits_of(thread, 0)
    return 0


cdef int end_visits_of(object thread, Py_ssize_t count) except -1:
    cdef list own = visits.get(thread)
    if own is None:
        return 0
    if count == 0:
        del visits[thread]
    while len(own) > count:
        end_visit(<MainVisit>own.pop(), len(visits) > (count != 0))
    return 0


cdef int end_visit(MainVisit visit, bint have_others) except -1:
    """`have_others`: other threads have visits."""
    cdef dict there = visit.module.__dict__
    cdef MainVisit other
    if have_others:
        for own in visits.values():
            for other in own:
                if (other.number > visit.number and other.before is visit.value and other.name == visit.name
                        and other.module is visit.module):
                    other.before = visit.before       # another thread's, which came later and has not ended
                    return 0
    if there.get(visit.name, _NOTHING) is visit.value:    # else somebody has set it anew
        if visit.before is _NOTHING:
            del there[visit.name]
        else:
            there[visit.name] = visit.before
    return 0


cdef bint is_visited(module, str name, value) except -1:
    """Whether a visit has set this name to this value. None puts it back when it ends: its FromMain has gone."""
    cdef MainVisit visit
    cdef bint found = False
    for own in visits.values():
        for visit in own:
            if visit.module is module and visit.name == name:
                if visit.before is value:
                    visit.before = _NOTHING
                found = found or visit.value is value
    return found


cdef int leave_main() except -1:
    """What runs next has nothing to do with a `__main__`."""
    global has_program, entered
    has_program, entered = False, NULL
    if clean_main is not None:
        _modules["__main__"] = clean_main
    return 0


cdef inline object as_callable(object function):
    """What to call, with its program's `__main__` in place."""
    if type(function) is FromMain:
        if entered != <void *>function:
            (<FromMain>function).enter()
        return (<FromMain>function).function
    if has_program:
        leave_main()
    return function


cdef inline object as_callable_in_place(object function):
    """The same for what runs in place: the names of what waits for it come back when it has ended (MainBefore)."""
    global entered
    if type(function) is FromMain:
        if entered != <void *>function:
            (<FromMain>function).visit()
            entered = <void *>function
        return (<FromMain>function).function
    if has_program:
        leave_main()
    return function


@cython.final
cdef class FromMain:
    """A callable that came by value from a program's `__main__`, and what came with it."""
    cdef readonly object function
    cdef readonly object module
    cdef readonly dict names
    cdef bint is_set                 # the names were set, not only visits

    def __init__(self, function not None, module not None, dict names not None):
        self.function, self.module, self.names = function, module, names

    cdef int enter(self) except -1:
        global has_program, entered, entries
        self.module.__dict__.update(self.names)
        _modules["__main__"] = self.module
        has_program, entered, self.is_set = True, <void *>self, True
        entries += 1
        return 0

    cdef int visit(self) except -1:
        """Its names are visits."""
        for name, value in self.names.items():
            add_visit(self.module, name, value)
        return 0

    def __call__(self, *args, **kwargs):
        self.enter()
        return self.function(*args, **kwargs)

    def __getattr__(self, name):
        if name == "__qualname__":
            return self.function.__qualname__
        raise AttributeError(name)

    def __del__(self):
        global entered
        cdef FromMain now = None
        cdef dict there = self.module.__dict__
        if entered == <void *>self:
            entered = NULL
        if not self.is_set:
            return
        if entered != NULL and (<FromMain>entered).module is self.module:
            now = <FromMain>entered                   # which may have brought the same things
        for name, value in self.names.items():
            if now is not None and now.names.get(name, _NOTHING) is value:
                now.is_set = True
            elif not is_visited(self.module, name, value) and there.get(name, _NOTHING) is value:
                del there[name]


@cython.final
cdef class MainBefore:
    """The `__main__` of a task that waits, while another runs on its stack."""
    cdef object module
    cdef object function             # the FromMain that was entered
    cdef bint has_program
    cdef Py_ssize_t count
    cdef uint64_t entries

    def __cinit__(self):
        self.module = _modules.get("__main__")
        self.function = <object>entered if entered != NULL else None
        self.has_program, self.count, self.entries = has_program, number_of_visits(), entries

    cdef int put_back(self) except -1:
        """What ran has set no name but by visits, so ending these gives all names back that it has replaced."""
        global has_program, entered
        end_visits(self.count)
        if entries != self.entries:                   # the worker is at another task by now, and this was a thread's
            entered = NULL
            return 0
        if _modules.get("__main__") is not self.module:
            _modules["__main__"] = self.module
        has_program = self.has_program
        entered = NULL if self.function is None else <void *>self.function
        return 0
