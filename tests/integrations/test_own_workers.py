"""Executors and pools with workers of their own: what they end, and when, also where nobody shuts them down."""

import os
import subprocess
import sys
import textwrap
import time

import numpy
import psutil
import pytest

from scaler import ScalerExecutor
from scaler.pool import Pool
from tests.e2e import calls


def children():
    return psutil.Process().children(recursive=True)


def run_program(text):
    program = textwrap.dedent(text)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=os.getcwd())


def test_an_executor_starts_its_workers_and_ends_them():
    before = len(children())
    with ScalerExecutor(max_workers=2) as executor:
        assert len({executor.submit(os.getpid).result() for _ in range(50)}) <= 2
        assert executor._max_workers == 2
        future = executor.submit(numpy.ones, 1_000_000)
        small = executor.submit(pow, 2, 5)
        future.exception()
    assert len(children()) == before
    assert small.result() == 32
    assert future.result().sum() == 1_000_000
    executor.shutdown()
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        ScalerExecutor(max_workers=0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        ScalerExecutor(1, initializer="no")  # type: ignore[arg-type]


def test_a_large_result_that_was_not_read_can_still_be_read_after_the_end():
    with ScalerExecutor(max_workers=1) as executor:
        future = executor.submit(numpy.ones, 1_000_000)
        while not future.done():
            time.sleep(0.01)
    assert future.result().sum() == 1_000_000


def test_what_was_accepted_is_done_though_nobody_refers_to_the_executor_any_more():
    before = len(children())
    executor = ScalerExecutor(max_workers=1)
    results = executor.map(calls.add_one, range(10))
    slow = executor.submit(time.sleep, 0.3)
    del executor
    assert list(results) == list(range(1, 11))
    assert slow.result() is None
    deadline = time.monotonic() + 20
    while len(children()) > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_accepted_is_done_before_the_program_ends():
    ran = run_program(
        """
        import atexit, time
        @atexit.register
        def run_last():
            try:
                executor.submit(id, None)
            except RuntimeError as error:
                print(error)
        from scaler import ScalerExecutor
        executor = ScalerExecutor(max_workers=1)
        future = executor.submit(time.sleep, 0.5)
        future.add_done_callback(lambda future: print("done", future.exception()))
        other = ScalerExecutor(max_workers=1)
        other.submit(time.sleep, 0.5).add_done_callback(lambda future: print("done", future.exception()))
        other.shutdown(wait=False)
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(ran.stdout.splitlines()) == [
        "cannot schedule new futures after interpreter shutdown",
        "done None",
        "done None",
    ]


def test_a_pool_starts_its_workers_and_ends_them():
    before = len(children())
    with Pool(2) as pool:
        assert pool.map(calls.add_one, range(100)) == list(range(1, 101))
        running = pool.apply_async(time.sleep, (60,))
    assert len(children()) == before
    with pytest.raises(BaseException, match="cancelled"):
        running.get(20)
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        Pool(0)


def test_a_pool_that_is_closed_ends_when_its_calls_are_done():
    before = len(children())
    pool = Pool(1, maxtasksperchild=5)
    results = [pool.apply_async(os.getpid) for _ in range(20)]
    pool.close()
    pool.join()
    assert len({result.get() for result in results}) >= 3
    assert len(children()) == before
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int"):
        Pool(1, maxtasksperchild=0)
