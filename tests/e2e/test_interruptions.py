"""Code that interrupts a client (signals' handlers, finalizers, tracing functions) may use it, and wait.

Each case is a program of its own (interrupted_program.py), since that is about the main thread and the whole process.
"""

import subprocess
import sys

import pytest

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
