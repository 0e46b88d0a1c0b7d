"""CPython's own tests of executors (test.test_concurrent_futures), with ScalerExecutor in place of a standard one.

ExecutorDeadlockTest is not taken: it makes its executors with `mp_context`, and looks inside them.

They are those of the interpreter that runs this, if it was installed with its tests. Where it was not: a folder that
has its `test` package can be put in front by PYTHONPATH.
"""

import importlib
import importlib.util
import unittest
from typing import Any

import pytest

from scaler import ScalerExecutor
from tests.suites.played import LEFT_OUT, play

NAME = "test.test_concurrent_futures"
PARTS = ("", ".executor", ".test_wait", ".test_as_completed", ".test_shutdown", ".test_init", ".test_deadlock", ".util")

STARTS = LEFT_OUT + "starts a program that makes a ThreadPoolExecutor or ProcessPoolExecutor by its name"
KNOWN: dict[str, dict[str, str]] = {
    "ExecutorShutdownTest": {
        "test_interpreter_shutdown": STARTS + "; ours: tests/integrations/test_own_workers.py",
        "test_submit_after_interpreter_shutdown": STARTS + "; ours: tests/integrations/test_own_workers.py",
        "test_hang_gh83386": STARTS + "; ours: tests/integrations/test_own_workers.py",
        "test_hang_gh94440": STARTS,
        "test_cancel_futures": LEFT_OUT + "wants one call to have begun, and ours is shut down before any has; "
        "ours: tests/e2e/test_executor.py",
    },
    "WaitTests": {},
    "AsCompletedTests": {},
    "ExecutorTest": {},
    "InitializerMixin": {},
    "FailingInitializerMixin": {
        "test_initializer": "looks for a line of a worker's log, which only a queue of multiprocessing would bring",
    },
}


def find(name: str) -> Any:
    """A class of that suite; None if it is not installed."""
    for part in PARTS:
        try:
            module = importlib.import_module(NAME + part)
        except ModuleNotFoundError:
            continue
        if hasattr(module, name):
            return getattr(module, name)
    return None


class Executors:
    """What the suite's tests use: an executor for each of them."""

    worker_count = 5
    executor_kwargs: dict[str, Any] = {}
    executor_type = ScalerExecutor

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.executor = self.executor_type(max_workers=self.worker_count, **self.executor_kwargs)

    def tearDown(self) -> None:
        self.executor.shutdown(wait=True)
        super().tearDown()  # type: ignore[misc]


if find("ExecutorTest") is None:

    @pytest.mark.skip(reason=f"NOT PLAYED: {NAME}, which this interpreter was installed without")
    def test_the_executors_of_cpython():
        """Says that the suite is missing."""

else:
    for _name, _known in KNOWN.items():
        _class = find(_name)
        _bases = (_class, unittest.TestCase) if _name.endswith("Mixin") else (_class, Executors, unittest.TestCase)
        globals()[f"TestCPython{_name}"] = play(
            f"TestCPython{_name}", _bases, _known, {"executor_type": ScalerExecutor}
        )
