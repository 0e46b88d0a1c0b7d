"""CPython's own tests of pools (test._test_multiprocessing), with scaler.pool.Pool in place of multiprocessing.Pool."""

import importlib
import multiprocessing
import unittest
from typing import Any

import pytest

from scaler.pool import Pool
from tests.suites.played import LEFT_OUT, play

NAME = "test._test_multiprocessing"
INSIDE = "looks at the processes of a Pool, which are private"
KNOWN: dict[str, dict[str, str]] = {
    "_TestPool": {
        "test_imap_handle_iterable_exception": "gives the calls of a chunk that come before the item that fails, too",
        "test_make_pool": INSIDE,
        "test_traceback": "the remote traceback is a scaler.exceptions.RemoteTraceback",
    },
    "_TestPoolWorkerErrors": {
        "test_unpickleable_result": "a result that cannot be pickled is the exception that pickling it has raised",
    },
    "_TestPoolWorkerLifetime": {
        "test_pool_worker_lifetime": INSIDE,
        "test_worker_finalization_via_atexit_handler_of_multiprocessing": LEFT_OUT
        + "starts a program that makes a Pool",
    },
}

try:
    suite: Any = importlib.import_module(NAME)
except ModuleNotFoundError:
    suite = None


class Pools:
    """What the suite's tests use."""

    TYPE = "processes"
    Pool = Pool

    @classmethod
    def setUpClass(cls) -> None:
        cls.before = multiprocessing.Pool  # type: ignore[attr-defined]
        multiprocessing.Pool = Pool  # type: ignore[assignment]
        super().setUpClass()  # type: ignore[misc]

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()  # type: ignore[misc]
        multiprocessing.Pool = cls.before  # type: ignore[attr-defined]


if suite is None:

    @pytest.mark.skip(reason=f"NOT PLAYED: {NAME}, which this interpreter was installed without")
    def test_the_pools_of_cpython():
        """Says that the suite is missing."""

else:
    for _name, _known in KNOWN.items():
        _case = f"TestCPython{_name.lstrip('_')}"
        globals()[_case] = play(_case, (Pools, getattr(suite, _name), unittest.TestCase), _known)
