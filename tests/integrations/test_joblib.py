"""joblib's backend: through which client it goes, batches, failures, nested calls, and what workers are limited to."""

import logging
import os
import time

import joblib
import numpy
import pytest

import scaler.joblib
from scaler import Client
from tests.e2e import calls


def parallel(n_jobs=-1, **options):
    return joblib.Parallel(n_jobs=n_jobs, **options)


def nested(n):
    return parallel(n_jobs=2)(joblib.delayed(calls.add_one)(i) for i in range(n))


def count_threads():
    return os.environ.get("OMP_NUM_THREADS")


def test_calls_go_through_the_client_that_was_given(client):
    with joblib.parallel_config("scaler", client=client):
        assert parallel()(joblib.delayed(calls.add_one)(i) for i in range(2000)) == list(range(1, 2001))
        pids = set(parallel(batch_size=1)(joblib.delayed(os.getpid)() for i in range(50)))
        assert os.getpid() not in pids
        assert list(parallel(return_as="generator")(joblib.delayed(pow)(i, 2) for i in range(9)))[-1] == 64
        assert parallel(n_jobs=1)(joblib.delayed(os.getpid)() for i in range(2)) == [os.getpid()] * 2


def test_lambdas_and_what_is_defined_here_will_do(client):
    factor = 3
    with joblib.parallel_config("scaler", client=client):
        assert parallel()(joblib.delayed(lambda x: x * factor)(i) for i in range(20)) == list(range(0, 60, 3))


def test_without_one_it_is_the_only_client_of_this_process_or_workers_of_its_own(client, caplog):
    others = [other for other in scaler.client.client.open_clients() if other.is_usable and other is not client]
    with joblib.parallel_config("scaler"), caplog.at_level(logging.WARNING):
        parents = set(parallel()(joblib.delayed(os.getppid)() for _ in range(10)))
    expected = set(client.starmap(os.getppid, [()] * 10))
    if not others:
        assert parents == expected
        with Client(client._address), joblib.parallel_config("scaler"), caplog.at_level(logging.WARNING):
            parents = set(parallel()(joblib.delayed(os.getppid)() for _ in range(10)))
    try:
        assert parents.isdisjoint(expected)
        assert "has started" in caplog.text
        assert "several clients are open here" in caplog.text
    finally:
        if scaler.joblib._own is not None:
            scaler.joblib._own.end()


def test_what_a_call_raises_is_raised_and_the_rest_is_cancelled(client):
    with joblib.parallel_config("scaler", client=client), pytest.raises(ValueError, match="no"):
        parallel()([joblib.delayed(time.sleep)(60), joblib.delayed(calls.fail)("no"), joblib.delayed(time.sleep)(60)])
    deadline = time.monotonic() + 20
    while client._rings.open_tasks:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_zero_jobs_make_no_sense(client):
    backend = scaler.joblib.ScalerBackend(client=client)
    with pytest.raises(ValueError, match="n_jobs == 0 in Parallel has no meaning"):
        backend.effective_n_jobs(0)
    assert [backend.effective_n_jobs(n) for n in (None, 1, 5, -1, -2, -9)] == [1, 1, 5, 2, 1, 1]


def test_a_call_may_run_calls_in_parallel_itself(client):
    with joblib.parallel_config("scaler", client=client):
        assert parallel()(joblib.delayed(nested)(5) for _ in range(4)) == [[1, 2, 3, 4, 5]] * 4


def test_threads_of_libraries_are_limited_as_joblib_does_it(client):
    with joblib.parallel_config("scaler", client=client, inner_max_num_threads=3):
        assert set(parallel(n_jobs=2)(joblib.delayed(count_threads)() for _ in range(4))) == {"3"}


def test_large_arrays_are_written_once_however_many_batches_have_them(client):
    array = numpy.ones(1_000_000)
    with joblib.parallel_config("scaler", client=client):
        sums = parallel(batch_size=1)(joblib.delayed(numpy.sum)(array) for _ in range(20))
    assert sums == [1_000_000] * 20
    assert client._store.used_bytes < 3 * array.nbytes
