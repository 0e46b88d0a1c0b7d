"""What a supervisor sees of its host and of processes."""

import os
import subprocess
import sys
import time

from scaler.cluster.usage_sampler import MOST_SHARE, PAUSE_S, UsageSampler


def test_a_process_that_works_has_a_share_of_a_core_and_memory():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        look = UsageSampler()
        first = look.look([("one", child.pid)], {"SIGKILL": 1})
        assert first.workers[0].cpu_share == 0.0
        time.sleep(0.5)
        second = look.look([("one", child.pid)], {})
    finally:
        child.kill()
        child.wait()
    (worker,) = second.workers
    assert (worker.process, worker.pid) == ("one", child.pid)
    assert 0 < worker.cpu_share < 2
    assert worker.rss_bytes > 1 << 20
    assert (first.agent_pid, first.restarts) == (os.getpid(), {"SIGKILL": 1})
    assert first.memory_total_bytes >= first.memory_free_bytes > 0
    assert first.agent_rss_bytes > 1 << 20


def test_a_process_that_has_ended_is_left_out():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    look = UsageSampler()
    assert look.look([("gone", child.pid), ("here", os.getpid())], {}).workers[0].process == "here"


def test_many_processes_are_looked_at_less_often():
    look = UsageSampler()
    began = time.monotonic()
    look.look([(str(number), os.getpid()) for number in range(2000)], {})
    took_s = time.monotonic() - began
    assert PAUSE_S <= look.next_pause_s <= max(PAUSE_S, took_s / MOST_SHARE)
