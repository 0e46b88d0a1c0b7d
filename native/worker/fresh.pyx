# FreshFunction: a callable that carries state, made anew for each call.
#
# The method of an object, a partial with a dict, an iterator: a call may change them. A worker that kept one would hand
# what the last call left to the next, and which call that was is chance. So whatever can carry state is unpickled for
# each call, as arguments are. The client says which those are (scaler.client.callables).
#
# Not here: how it is unpickled (scaler.values.sent_function).

@cython.final
cdef class FreshFunction:
    """`load()` makes another one; `first` has been made already, so that its errors are heard of before any call."""
    cdef object first, load, __weakref__
    cdef readonly str name            # what errors call it

    def __init__(self, first not None, load not None, str name not None):
        self.first, self.load, self.name = first, load, name

    def __call__(self, *args, **kwargs):
        cdef object function = self.first
        if function is None:
            return self.load()(*args, **kwargs)
        self.first = None
        if type(function) is FromMain:                # it came by value before this task began
            (<FromMain>function).visit()              # until the task ends: a coroutine runs when this has returned
            return (<FromMain>function).function(*args, **kwargs)
        return function(*args, **kwargs)

    def __getattr__(self, name):
        if name == "__qualname__":
            return self.name
        raise AttributeError(name)
