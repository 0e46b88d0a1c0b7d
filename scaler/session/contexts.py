"""Contexts: one of ZeroMQ's contexts for all sockets of this process to schedulers, as long as there is one.

A context has two threads and some descriptors of its own, so one for each attempt to connect would cost more than the
attempt. It goes with the last that holds it: a program that is done with its client keeps nothing of it.

Rule 1: a child that was forked begins with none. The context of its parent is the parent's.
Not here: the scheduler's own context, and that of a viewer.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from scaler.program.descriptors import check_descriptors
from scaler.program.threads import check_threads

ZEROMQ_THREADS, ZEROMQ_DESCRIPTORS = 2, 16  # of a context with one socket, and some more: it aborts without them
Context = zmq.Context[zmq.Socket[bytes]]
_lock = threading.Lock()
_context: Context | None = None
_holders = 0


def take_context() -> Context:
    """This process's, to be given back with `release_context`. LimitError if there can be none."""
    global _context, _holders
    with _lock:
        if _context is None:
            check_threads(ZEROMQ_THREADS)
            check_descriptors(ZEROMQ_DESCRIPTORS)
            _context = zmq.Context()
        _holders += 1
        return _context


def release_context(context: Context) -> None:
    """It is needed no more. The last to say so waits until what was sent has gone, as its sockets' linger says."""
    global _context, _holders
    with _lock:
        if context is not _context:
            return  # of a parent that forked this process
        _holders -= 1
        if _holders:
            return
        _context = None
    context.term()


@contextmanager
def held_context() -> Iterator[None]:
    """Have the context stay meanwhile, though one socket goes before the next one comes."""
    context = take_context()
    try:
        yield
    finally:
        release_context(context)


def _forget() -> None:
    global _context, _holders, _lock
    _context, _holders, _lock = None, 0, threading.Lock()


os.register_at_fork(after_in_child=_forget)
