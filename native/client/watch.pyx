# Watch: what a function that travels by value was made of when it was sent, and whether that is still what it is.
#
# A function is sent once. In a notebook its globals, closure, defaults and code are bound anew in between, and people
# expect the next submit to use what they see. So a client notes what it has found under each name that a function uses
# (scaler.client.callables finds out which these are), and compares that before each submit, by identity. Values that can
# change in place and are small are pickled again and compared as bytes.
#
# Rule 1: what differs need not make a difference: if something has changed the function is pickled again, and its bytes
#         say whether it is another.
# Rule 2: nothing here keeps a function alive, be it by way of its own closure: what may lead back to one is held weakly,
#         or, where that is not possible, known by its address, its type, its length and the addresses of some items. All
#         else is held, since its address could be another's by now.
# Rule 3: an address says nothing about what is there now: nothing is read from it before its size and type are known.
# Not here: what a function uses (scaler.client.callables), its number (scaler.client.functions).

import pickle as _pickle
import sys as _sys
import weakref as _weakref

cdef extern from *:
    """
    /* Since Python 3.12 each interpreter has its own dict of a built-in class, and tp_dict is NULL there. */
    static inline PyObject *scaler_class_dict(PyObject *cls) {
    #if PY_VERSION_HEX >= 0x030C0000
        PyObject *dict = PyType_GetDict((PyTypeObject *)cls);
        Py_XDECREF(dict);                                         /* the class has it */
        return dict;
    #else
        return ((PyTypeObject *)cls)->tp_dict;
    #endif
    }
    """
    PyObject *class_dict "scaler_class_dict"(object cls)

cdef extern from *:
    """
    /* Of a container: its type, its length, and the addresses of some of its items. Of all else: its type. */
    static uint64_t scaler_outline(PyObject *value) {
        uint64_t outline = (uint64_t)(uintptr_t)Py_TYPE(value);
        Py_ssize_t size = 0, i = 0;
        PyObject *key, *item;
        int left = 16;
    #define SCALER_MIX(what) (outline = (outline ^ (uint64_t)(what)) * 0x9E3779B97F4A7C15u, outline ^= outline >> 32)
        if (PyDict_Check(value)) {
            SCALER_MIX(PyDict_Size(value));
            while (left-- && PyDict_Next(value, &i, &key, &item)) {
                SCALER_MIX((uintptr_t)key);
                SCALER_MIX((uintptr_t)item);
            }
        } else if (PyList_Check(value) || PyTuple_Check(value)) {
            size = PyList_Check(value) ? PyList_GET_SIZE(value) : PyTuple_GET_SIZE(value);
            SCALER_MIX(size);
            for (i = 0; i < size; i += size / 16 + 1)
                SCALER_MIX((uintptr_t)(PyList_Check(value) ? PyList_GET_ITEM(value, i) : PyTuple_GET_ITEM(value, i)));
        } else if (PyAnySet_Check(value))
            SCALER_MIX(PySet_GET_SIZE(value));
        else if (PyByteArray_Check(value))
            SCALER_MIX(PyByteArray_GET_SIZE(value));
    #undef SCALER_MIX
        return outline;
    }
    """
    uint64_t outline_of "scaler_outline"(PyObject *value) noexcept

cdef extern from "Python.h":
    PyObject *PyDict_GetItem(object mapping, object key)
    PyObject *PyWeakref_GetObject(object reference)
    int PyDict_Next(object mapping, Py_ssize_t *at, PyObject **key, PyObject **value)
    Py_ssize_t PyDict_Size(object mapping)
    Py_ssize_t PySet_GET_SIZE(object set)

cdef extern from *:
    """
    #define scaler_cell_content(cell) (((PyCellObject *)(cell))->ob_ref)
    #define scaler_function(f) ((PyFunctionObject *)(f))
    #define scaler_class(c) ((PyTypeObject *)(c))
    """
    PyObject *cell_content "scaler_cell_content"(PyObject *cell)
    ctypedef struct FunctionObject "PyFunctionObject":
        PyObject *func_code
        PyObject *func_globals
        PyObject *func_defaults
        PyObject *func_kwdefaults
        PyObject *func_closure
        PyObject *func_dict
    ctypedef struct ClassObject "PyTypeObject":
        PyObject *tp_bases
    FunctionObject *as_function "scaler_function"(object function)
    ClassObject *as_class "scaler_class"(object cls)

cdef object SLOTNAMES = _sys.intern("__slotnames__")  # what pickling notes in the class of what it pickles

cdef uint64_t reloads_so_far = 0


def note_reload():
    """A module of this process is loaded anew: what is sent by name may mean something else from now on."""
    global reloads_so_far
    reloads_so_far += 1


@cython.final
cdef class Found:
    """A value that was found, and is not held. With `has_state` it may change in place, and its pickle says whether.

    With neither that nor a reference its outline says whether something else has its address now.
    """
    cdef PyObject *address            # NULL: there was nothing
    cdef object reference             # weak; None where the value's type has no weak references
    cdef uint64_t outline
    cdef bint has_state, has_outline

    def __init__(self, value, reference=None, bint has_state=False):
        self.address, self.reference, self.has_state = <PyObject *>value, reference, has_state
        self.has_outline = reference is None and not has_state
        if self.has_outline:
            self.outline = outline_of(self.address)

    @staticmethod
    def nothing():
        """What stands for a name that is not bound, or an empty cell."""
        cdef Found found = Found(None)
        found.address, found.has_outline = NULL, False
        return found


cdef inline bint is_found_again(PyObject *expected, PyObject *now, list states) except -1:
    """Whether this is the value that was expected: the value itself, if that may be held, or a Found."""
    cdef Found found
    if type(<object>expected) is not Found:
        return expected == now
    found = <Found>expected
    if found.address != now or (found.reference is not None and PyWeakref_GetObject(found.reference) != now):
        return False
    if found.has_outline and outline_of(now) != found.outline:
        return False
    if found.has_state:
        states.append(<object>now)
    return True


cdef bint are_found_in(PyObject *mapping, tuple items, list states) except -1:
    """Whether a dict has these (name, value)*; NULL is an empty one."""
    cdef Py_ssize_t i
    for i in range(0, PyTuple_GET_SIZE(items), 2):
        if not is_found_again(PyTuple_GET_ITEM(items, i + 1),
                              NULL if mapping == NULL else PyDict_GetItem(<object>mapping, <object>PyTuple_GET_ITEM(items, i)),
                              states):
            return False
    return True


cdef class WatchedPart:
    """A part of what is watched. It is held weakly."""
    cdef object owner

    cdef bint is_unchanged(self, list states) except -1:
        raise NotImplementedError


@cython.final
cdef class WatchedFunction(WatchedPart):
    """What a function uses: `names` of its module, `cells`, `defaults`, `keywords` (defaults, too), `attributes`."""
    cdef object code
    cdef PyObject *given              # its tuple of defaults
    cdef PyObject *given_keywords
    cdef tuple names, cells, defaults, keywords, attributes

    def __init__(self, function not None, reference not None, tuple names, tuple cells, tuple defaults, tuple keywords,
                 tuple attributes):
        cdef FunctionObject *f = as_function(function)
        self.owner, self.code, self.given, self.given_keywords = reference, <object>f.func_code, f.func_defaults, f.func_kwdefaults
        self.names, self.cells, self.defaults, self.keywords = names, cells, defaults, keywords
        self.attributes = attributes

    cdef bint is_unchanged(self, list states) except -1:
        cdef object owner = <object>PyWeakref_GetObject(self.owner)
        cdef FunctionObject *f
        cdef Py_ssize_t i
        if owner is None:
            return False
        f = as_function(owner)
        if f.func_code != <PyObject *>self.code or f.func_defaults != self.given or f.func_kwdefaults != self.given_keywords:
            return False
        if PyTuple_GET_SIZE(self.names) and not are_found_in(f.func_globals, self.names, states):
            return False
        if PyTuple_GET_SIZE(self.cells) != (0 if f.func_closure == NULL else PyTuple_GET_SIZE(<object>f.func_closure)):
            return False
        for i in range(PyTuple_GET_SIZE(self.cells)):
            if not is_found_again(PyTuple_GET_ITEM(self.cells, i), cell_content(PyTuple_GET_ITEM(<object>f.func_closure, i)),
                                  states):
                return False
        if PyTuple_GET_SIZE(self.defaults) != (0 if f.func_defaults == NULL else PyTuple_GET_SIZE(<object>f.func_defaults)):
            return False
        for i in range(PyTuple_GET_SIZE(self.defaults)):
            if not is_found_again(PyTuple_GET_ITEM(self.defaults, i), PyTuple_GET_ITEM(<object>f.func_defaults, i), states):
                return False
        if PyTuple_GET_SIZE(self.keywords) != (0 if f.func_kwdefaults == NULL else 2 * PyDict_Size(<object>f.func_kwdefaults)):
            return False
        if PyTuple_GET_SIZE(self.keywords) and not are_found_in(f.func_kwdefaults, self.keywords, states):
            return False
        if f.func_dict == NULL and not PyTuple_GET_SIZE(self.attributes):
            return True
        return ((0 if f.func_dict == NULL else 2 * PyDict_Size(<object>f.func_dict)) == PyTuple_GET_SIZE(self.attributes)
                and are_found_in(f.func_dict, self.attributes, states))


@cython.final
cdef class WatchedClass(WatchedPart):
    """What a class has of its own: `items`, as `class_items` gives them, with what stands for the values."""
    cdef tuple bases                  # weak references
    cdef tuple items

    def __init__(self, cls not None, reference not None, tuple items):
        self.owner, self.items = reference, items
        self.bases = tuple([_weakref.ref(base) for base in <object>as_class(cls).tp_bases])

    cdef bint is_unchanged(self, list states) except -1:
        cdef object owner = <object>PyWeakref_GetObject(self.owner)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t i = 0
        cdef PyObject *key
        cdef PyObject *value
        cdef PyObject *bases
        if owner is None:
            return False
        bases = as_class(owner).tp_bases
        if PyTuple_GET_SIZE(<object>bases) != PyTuple_GET_SIZE(self.bases):
            return False
        for i in range(PyTuple_GET_SIZE(self.bases)):
            if PyWeakref_GetObject(<object>PyTuple_GET_ITEM(self.bases, i)) != PyTuple_GET_ITEM(<object>bases, i):
                return False
        i = 0
        while PyDict_Next(<object>class_dict(owner), &at, &key, &value):
            if key == <PyObject *>SLOTNAMES:
                continue
            if i == PyTuple_GET_SIZE(self.items) or PyTuple_GET_ITEM(self.items, i) != key:
                return False
            if not is_found_again(PyTuple_GET_ITEM(self.items, i + 1), value, states):
                return False
            i += 2
        return i == PyTuple_GET_SIZE(self.items)


def class_items(cls not None):
    """[name, value, name, value, ...] of what a class has of its own."""
    cdef Py_ssize_t at = 0
    cdef PyObject *key
    cdef PyObject *value
    cdef list found = []
    while PyDict_Next(<object>class_dict(cls), &at, &key, &value):
        if key == <PyObject *>SLOTNAMES:
            continue
        found.append(<object>key)
        found.append(<object>value)
    return found


@cython.final
cdef class Watch:
    """`parts` of a callable. `has_state`: of a partial, whose arguments can change in place. `pickled`: of all states."""
    cdef tuple parts
    cdef bint has_state
    cdef bytes pickled

    def __init__(self, tuple parts not None, bint has_state=False):
        self.parts, self.has_state = parts, has_state

    def note_states(self, callable):
        """Note what can change in place, as it is now. False if something has changed already, or cannot be pickled."""
        cdef list states = []
        if not self.are_found_again(callable, states):
            return False
        self.pickled = pickle_or_nothing(states) if states else None
        return not states or self.pickled is not None

    cdef bint are_found_again(self, callable, list states) except -1:
        cdef Py_ssize_t i
        for i in range(PyTuple_GET_SIZE(self.parts)):
            if not (<WatchedPart>PyTuple_GET_ITEM(self.parts, i)).is_unchanged(states):
                return False
        if self.has_state:
            states += [callable.args, callable.keywords]
        return True

    cpdef bint is_unchanged(self, callable) except -1:
        """Whether all of that is what it was."""
        cdef list states = []
        if not self.are_found_again(callable, states):
            return False
        return not states or pickle_or_nothing(states) == self.pickled


cdef object pickle_or_nothing(list states):
    try:
        return _pickle.dumps(states, 5)
    except Exception:
        return None                                   # pickling it again raises the reason


@cython.final
cdef class KnownFunction:
    """A callable that is known by identity, and the number that it has been sent under."""
    cdef readonly object reference    # weak
    cdef readonly object number
    cdef Watch watch                  # None: nothing of it can change
    cdef uint64_t environment        # as of when

    def __init__(self, reference not None, number not None, Watch watch, uint64_t environment):
        self.reference, self.number, self.watch, self.environment = reference, number, watch, environment


cdef class KnownFunctions:
    """Which callables of a client are known, by identity, and are still what was sent.

    `environment` counts the changes of what all of them are sent with: where modules are found (sys.path), which
    modules travel by value, which were loaded anew. `owner()._number_of_new(function)` gives the number of any other.
    """
    cdef readonly dict by_id          # id -> KnownFunction
    cdef object owner                 # weak: it is the owner that has this
    cdef uint64_t count
    cdef dict system, modules
    cdef tuple path
    cdef object by_value              # cloudpickle's set of modules that travel by value; None: it has none yet
    cdef frozenset by_value_before
    cdef uint64_t reloads

    def __init__(self, owner not None):
        self.owner = owner
        self.by_id, self.system, self.modules, self.path = {}, _sys.__dict__, _sys.modules, ()
        self.look_around()

    def number_of(self, function):
        """The number to submit it under; announces the function if it is new. TypeError if it cannot be called.

        It is good as long as the caller holds it and the function.
        """
        cdef object number = self.find(function)
        return self.owner()._number_of_new(function) if number is None else number

    cdef object find(self, function):
        """The number of what is known, and is what it was."""
        cdef PyObject *known = PyDict_GetItem(self.by_id, <size_t><PyObject *>function)
        cdef KnownFunction one
        if known == NULL:
            return None
        one = <KnownFunction>known
        if (PyWeakref_GetObject(one.reference) == <PyObject *>function and self.is_as_it_was()
                and one.environment == self.count and (one.watch is None or one.watch.is_unchanged(function))):
            return one.number
        return None

    @property
    def environment(self):
        """How often they have changed, up to now."""
        self.is_as_it_was()
        return self.count

    cdef bint is_as_it_was(self) except -1:
        """False if they have just changed."""
        cdef PyObject *path = PyDict_GetItem(self.system, "path")
        cdef Py_ssize_t i
        if self.reloads != reloads_so_far or path == NULL or type(<object>path) is not list:
            return self.look_around()
        if PyList_GET_SIZE(<object>path) != PyTuple_GET_SIZE(self.path):
            return self.look_around()
        for i in range(PyTuple_GET_SIZE(self.path)):
            if <PyObject *>PyList_GET_ITEM(<object>path, i) != PyTuple_GET_ITEM(self.path, i):
                return self.look_around()
        if self.by_value is None:
            if PyDict_GetItem(self.modules, "cloudpickle") == NULL:
                return True
            self.find_by_value()
            if self.by_value is None:
                return True                           # it is just being imported
        if PySet_GET_SIZE(self.by_value) == 0 and PySet_GET_SIZE(self.by_value_before) == 0:
            return True
        return self.by_value == self.by_value_before or self.look_around()

    cdef bint look_around(self) except -1:
        self.count += 1
        self.reloads = reloads_so_far
        self.path = tuple(self.system.get("path") or ())
        if self.by_value is None:
            self.find_by_value()
        self.by_value_before = frozenset(self.by_value or ())
        return False

    cdef int find_by_value(self) except -1:
        found = getattr(self.modules.get("cloudpickle.cloudpickle"), "_PICKLE_BY_VALUE_MODULES", None)
        self.by_value = found if type(found) is set else None
        return 0
