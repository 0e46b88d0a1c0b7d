"""Code that interrupts a client (signals' handlers, finalizers, tracing functions) may use it, and wait.

Each case is a program of its own (interrupted_program.py), since that is about the main thread and the whole process.
"""

import gc
import queue
import subprocess
import sys
import time
import weakref

import pytest

from scaler.program.threads import new_thread
from tests.e2e import nested_calls as calls

WAITS = ["result", "large", "map", "get", "standard", "callback", "flood", "cancel", "time_out", "disconnect"]
WAYS = ["signal_beside_threads", "finalizer", "profile", "audit_hook", "reduce", "inside_signal"]


def run(cluster, way, wait):
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.interrupted_program", cluster.get_address(), way, wait],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("wait", WAITS)
def test_the_handler_of_a_signal_may_wait(cluster, wait):
    run(cluster, "signal", wait)


@pytest.mark.parametrize("wait", ["result", "standard"])
@pytest.mark.parametrize("way", WAYS)
def test_other_code_that_interrupts_may_wait(cluster, way, wait):
    run(cluster, way, wait)


def test_what_waits_in_the_clients_own_thread_to_be_told_by_that_is_told_so(client):
    said, result = calls.run_in_own_threads(client)
    assert "cannot be waited for in this way in the client's own thread" in said
    assert result == "None"


@pytest.mark.parametrize("cluster", ["wire"], indirect=True)
def test_a_finalizer_in_the_thread_that_brings_results_is_told_that_it_cannot_wait(client):
    assert "scaler-relay" in told_in_thread(client, client._entry._thread.call)
    assert client.submit(calls.add_one, 1).result(60) == 2


def test_a_finalizer_in_a_thread_of_ours_is_told_that_it_cannot_wait_nor_for_room(client):
    def call(what):
        new_thread("scaler-reconnect", what).start()

    assert "scaler-reconnect" in told_in_thread(client, call)
    assert "scaler-reconnect" in told_in_thread(client, call, fill_ring)


def fill_ring(client):
    """Submit until one has to wait: what runs meanwhile takes longer than that, and is stopped in the end."""
    futures = [client.submit(time.sleep, 60) for _ in range(2)]
    try:
        while True:
            futures.append(client.submit(len, b"x" * 4000))
    finally:
        for future in futures:
            future.cancel()


def wait_once(client):
    client.submit(time.sleep, 0.1).result(60)


def told_in_thread(client, call, wait=wait_once):
    """What is raised in a finalizer that the collector runs in that thread."""
    said = queue.SimpleQueue()

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            try:
                wait(client)
            except BaseException as error:
                said.put(error)
            else:
                said.put(None)

    def collect():
        garbage = weakref.ref(Garbage())
        while garbage() is not None:  # it does nothing while another thread collects
            gc.collect()
            time.sleep(0.01)

    call(collect)
    error = said.get(timeout=60)
    assert isinstance(error, RuntimeError), error
    return str(error)
