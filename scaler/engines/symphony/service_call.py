"""ServiceCall: what a Symphony service is sent where a plain call does not do. It goes by value.

The service needs nothing of this package for it, as it needs nothing for a plain call. If the package is there, and a
call needs to know that it is a task (it uses a client, or has a time limit), it runs as one (scaler.engines.run).

Rule 1: nothing here uses names of other modules of this package but inside `invoke`, where they may be missing.
Not here: when this is sent instead of the plain call (payloads).
"""

from typing import Any

RAISED = "scaler.raised"  # (RAISED, exception) is what a service may answer in place of failing; a traceback may follow


def invoke(blob: bytes, about: Any, items: Any) -> Any:
    """The value of the call in this pickle, or of all calls of a chunk; or a tagged pair of what it has raised."""
    import pickle

    run_as_task: Any = None
    try:
        from scaler.engines.run import run_call as run_as_task
    except ImportError:
        pass

    def run() -> Any:
        function, arguments, keywords = pickle.loads(blob)
        if items is None:
            return finished(function(*arguments, **keywords))
        return [one_of_chunk(function, call) for call in arguments]

    try:
        return run() if about is None or run_as_task is None else run_as_task(about, run)
    except Exception as error:
        return raised(error)


def one_of_chunk(function: Any, arguments: Any) -> Any:
    try:
        return True, finished(function(*arguments))
    except Exception as error:
        return False, raised(error)


def finished(value: Any) -> Any:
    import inspect

    if not inspect.iscoroutine(value):
        return value
    import asyncio

    return asyncio.run(value)


def raised(error: Exception) -> Any:
    """The tagged pair, and the text of the traceback."""
    import traceback

    import cloudpickle

    text = "".join(traceback.format_exception(error))
    try:
        cloudpickle.dumps(error)
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return RAISED, error, text
