"""Setup: an initializer, run once in each worker before the first call that comes with it.

Workers are there before anybody asks for an initializer, and others may use them, too. So it travels with the function
of each call, as bytes that are unpickled only where they have not been: whose they are says a key that nobody else has.

Rule 1: an initializer that has failed in a worker is not tried again there: each call that needs it fails.
"""

import logging
import pickle
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from inspect import iscoroutine
from typing import Any

MOST_REMEMBERED = 1000  # of those that have run here
_seen: OrderedDict[bytes, str] = OrderedDict()  # what has been run, and why it has failed


def call_set_up(key: bytes, initializer: bytes, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in a worker, after its initializer has run there."""
    ensure(key, initializer)
    return function(*args, **kwargs)


def ensure(key: bytes, initializer: bytes) -> None:
    """Run this pickled (function, arguments), unless that has been done. BrokenExecutor if it has failed."""
    failure = _seen.get(key)
    if failure is None:
        failure = ""
        try:
            function, arguments = pickle.loads(initializer)
            if iscoroutine(returned := function(*arguments)):
                returned.close()
                raise TypeError(f"{function!r} returns a coroutine, which nobody awaits before the calls")
        except Exception as error:
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            failure = f"{type(error).__name__}: {error}"
        _seen[key] = failure
        if len(_seen) > MOST_REMEMBERED:
            _seen.popitem(last=False)
    if failure:
        raise BrokenExecutor(f"the initializer has failed in this worker: {failure}")
