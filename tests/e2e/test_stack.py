"""What a task does just now, asked by its client: over rings and over the wire, of real tasks in real processes."""

import os
import signal
import time
from typing import Any

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.exceptions import NoStackError
from tests.e2e import looked_at
from tests.processes import wait_until


def started(path):
    wait_until(lambda: os.path.exists(path))
    return str(path)


@pytest.fixture
def stop(tmp_path):
    """A file that ends what waits for it."""
    path = tmp_path / "stop"
    yield str(path)
    path.touch()


def stack_with(client, future, what):
    """The stack once the task has come to this: a file that it makes is there a moment before it goes on."""
    texts = []

    def is_there():
        texts.append(client.stack(future))
        return what in texts[-1]

    wait_until(is_there)
    return texts[-1]


def line_of(text, module=looked_at):
    with open(module.__file__) as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


def test_a_sleeping_task_is_seen_at_its_line_and_sleeps_on(client, tmp_path):
    begun = tmp_path / "begun"
    future = client.submit(looked_at.sleep_in_here, str(begun), 1.5)
    started(begun)
    text = stack_with(client, future, f"line {line_of('line of the sleep')}, in sleep_in_here")
    assert "time.sleep(seconds)" in text
    assert future.result() >= 1.5


def test_a_task_in_a_loop_is_seen_with_its_calls_outermost_first_and_nothing_of_ours(client, tmp_path, stop):
    begun = tmp_path / "begun"
    future = client.submit(looked_at.loop_in_here, str(begun), stop)
    started(begun)
    texts = [client.stack(future) for _ in range(20)]
    assert all("in loop_in_here" in text for text in texts)
    assert all("scaler/worker/main.py" not in text and "bootstrap" not in text for text in texts)
    assert all(text.index("in loop_in_here") < text.index("in turn") for text in texts if "in turn" in text)


def test_a_task_in_c_code_that_holds_the_interpreters_lock_is_seen(client, tmp_path):
    begun = tmp_path / "begun"
    future = client.submit(looked_at.compute_in_c, str(begun), 10**8)
    started(begun)
    stack_with(client, future, f"line {line_of('one call of C')}, in compute_in_c")
    assert future.result() == sum(range(10**8))


def test_a_builtin_as_a_task_has_no_line_which_is_said(client):
    future = client.submit(time.sleep, 2)
    assert "no line of Python" in client.stack(future)


def test_the_threads_of_a_task_are_seen(client, tmp_path, stop):
    begun = tmp_path / "begun"
    future = client.submit(looked_at.wait_for_threads, str(begun), stop)
    started(begun)
    text = stack_with(client, future, "in join")
    assert text.count("in wait_in_thread") == 3
    assert "in wait_for_threads" in text
    assert "\nthread " in text


def test_what_a_task_reads_from_the_kernel_is_not_interrupted(client, tmp_path):
    begun, fifo = tmp_path / "begun", tmp_path / "fifo"
    os.mkfifo(fifo)
    future = client.submit(looked_at.read_by_c, str(begun), str(fifo))
    started(begun)
    time.sleep(0.1)
    for _ in range(20):
        assert "in read_by_c" in client.stack(future)
    with open(fifo, "wb") as file:
        file.write(b"hello")
    count, _, data = future.result()
    assert (count, data) == (5, b"hello")


def test_a_task_that_waits_for_a_task_shows_where_it_waits_and_what_runs_in_its_place(client, tmp_path, stop):
    begun = tmp_path / "begun"
    future = client.submit(looked_at.wait_for_child, client, str(begun), stop)
    started(begun)
    text = client.stack(future)
    assert "in wait_for_child" in text


def test_a_task_that_has_forked_is_seen_and_its_child_is_not(client, tmp_path, stop):
    begun = tmp_path / "begun"
    future = client.submit(looked_at.fork_and_wait, str(begun), stop)
    started(begun)
    text = client.stack(future)
    assert "in fork_and_wait" in text
    assert "wait_in_thread" not in text


def test_a_task_that_has_ended_has_none_and_it_says_so(client):
    future = client.submit(abs, -1)
    future.result()
    with pytest.raises(NoStackError, match="it has ended"):
        client.stack(future)
    cancelled = client.submit(time.sleep, 10)
    cancelled.cancel()
    with pytest.raises(NoStackError, match="it has ended"):
        client.stack(cancelled)


def test_a_task_that_does_not_run_yet_has_none_and_it_says_so(client, tmp_path, stop):
    busy = [client.submit(looked_at.loop_in_here, str(tmp_path / str(number)), stop) for number in range(2)]
    for number in range(2):
        started(tmp_path / str(number))
    waiting = client.submit(looked_at.sleep_in_here, str(tmp_path / "never"), 0)
    after = client.submit(abs, waiting)
    with pytest.raises(NoStackError, match=r"waits for a worker|has not begun it yet"):
        client.stack(waiting)
    with pytest.raises(NoStackError, match="waits for the results of other tasks"):
        client.stack(after)
    for future in (*busy, waiting, after):
        future.cancel()


def test_many_threads_ask_about_many_tasks_at_once(client, tmp_path, stop):
    from concurrent.futures import ThreadPoolExecutor

    futures = [client.submit(looked_at.loop_in_here, str(tmp_path / str(number)), stop) for number in range(2)]
    for number in range(2):
        started(tmp_path / str(number))
    with ThreadPoolExecutor(8) as pool:
        for text in pool.map(client.stack, futures * 20):
            assert "in loop_in_here" in text


def test_a_worker_that_is_stopped_or_has_given_the_signal_away_is_named(tmp_path, stop):
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        pid = client.submit(os.getpid).result()
        future: Any = client.submit(looked_at.loop_in_here, str(tmp_path / "one"), stop)
        started(tmp_path / "one")
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            with pytest.raises(NoStackError, match=rf"process {pid}\) is stopped"):
                client.stack(future)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "in loop_in_here" in client.stack(future)
        future.cancel()
        future = client.submit(looked_at.take_the_signal, str(tmp_path / "two"), stop)
        started(tmp_path / "two")
        with pytest.raises(NoStackError, match="SIGWINCH"):
            client.stack(future)


def test_a_cluster_that_does_not_answer_is_not_waited_for(tmp_path, stop):
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        supervisor = client.submit(os.getppid).result()
        future = client.submit(looked_at.loop_in_here, str(tmp_path / "one"), stop)
        started(tmp_path / "one")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            with pytest.raises(NoStackError, match="the cluster that was asked has not answered"):
                client.stack(future)
        finally:
            os.kill(supervisor, signal.SIGCONT)
        assert "in loop_in_here" in client.stack(future)
