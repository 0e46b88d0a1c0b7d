# Mains: which `__main__` a worker has, from task to task.
#
# What comes by value from a program's `__main__` is an attribute of a module of that name in the worker, one for each
# program, which has nothing else. So it can be pickled by name there, and multiprocessing finds it. Which of these
# modules is `sys.modules["__main__"]` follows from what runs: that of the function, or of what its arguments have
# brought; else one in which there is nothing.
#
#   FromMain   a kept function and the names that came with it. They are set when it runs after another has.
#   a visit    a name that came with the arguments of a task, or with a result it has read: there until the task ends.
#
# Rule 1: a task whose function and arguments did not come from a `__main__` pays two comparisons.
# Rule 2: what a function or the arguments have brought does not stay beyond them: it may hold large objects.
# Not here: which modules there are (scaler.values.mains), what comes by value (scaler.values.by_value).

cdef object _NOTHING = object()
cdef dict _modules = _sys.modules
cdef object clean_main = None    # the one in which there is nothing; None: this process is no worker
cdef bint has_program = False    # `__main__` is a program's
cdef void *entered = NULL        # the FromMain whose names were set last
cdef list visits = []            # (thread, module, name, value, value before), in the order of their coming


def begin_mains(module not None):
    """This process is a worker: its `__main__` is this module, which has nothing, unless a program's is needed."""
    global clean_main
    clean_main = _modules["__main__"] = module


def visit_main(module not None, str name not None, value):
    """This came by value from the `__main__` that the module stands for. It is there until the task ends."""
    global has_program, entered
    cdef dict there = module.__dict__
    visits.append((PyThread_get_thread_ident(), module, name, value, there.get(name, _NOTHING)))
    there[name] = value
    _modules["__main__"] = module
    has_program, entered = True, NULL


def count_visits():
    """How many there are: what comes after these has come with what is unpickled now."""
    return len(visits)


def from_main(function, Py_ssize_t count):
    """The function; with the names that this thread was brought after so many visits, if it was brought any."""
    cdef dict names
    cdef object module = None
    if len(visits) == count:
        return function
    names = {}
    for thread, where, name, value, _ in visits[count:]:
        if thread == PyThread_get_thread_ident():
            module, names[name] = where, value
    end_visits(count)
    return function if module is None else FromMain(function, module, names)


cdef int end_visits(Py_ssize_t count, bint of_all=False) except -1:
    """Those of this thread after the first `count` end, or those of all threads."""
    cdef Py_ssize_t i
    cdef dict there
    for i in reversed(range(count, len(visits))):
        thread, module, name, value, before = visits[i]
        if not of_all and thread != PyThread_get_thread_ident():
            continue
        del visits[i]
        there = module.__dict__
        if there.get(name) is value:                  # else somebody has set it anew
            if before is _NOTHING:
                del there[name]
            else:
                there[name] = before
    return 0


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


@cython.final
cdef class FromMain:
    """A callable that came by value from a program's `__main__`, and what came with it."""
    cdef readonly object function
    cdef readonly object module
    cdef readonly dict names

    def __init__(self, function not None, module not None, dict names not None):
        self.function, self.module, self.names = function, module, names

    cdef int enter(self) except -1:
        global has_program, entered
        self.module.__dict__.update(self.names)
        _modules["__main__"] = self.module
        has_program, entered = True, <void *>self
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
        if entered == <void *>self:
            entered = NULL
        there = self.module.__dict__
        for name, value in self.names.items():
            if there.get(name) is value:
                del there[name]


@cython.final
cdef class MainBefore:
    """The `__main__` of a task that waits, while another runs on its stack."""
    cdef object module
    cdef object function             # the FromMain that was entered
    cdef Py_ssize_t count

    def __cinit__(self):
        self.module = _modules.get("__main__")
        self.function = <object>entered if entered != NULL else None
        self.count = len(visits)

    cdef int put_back(self) except -1:
        global has_program, entered
        end_visits(self.count)
        if self.function is not None:
            (<FromMain>self.function).enter()
        elif _modules.get("__main__") is not self.module:
            _modules["__main__"] = self.module
            has_program, entered = self.module is not clean_main, NULL
        return 0
