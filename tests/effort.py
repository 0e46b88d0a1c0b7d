"""How much the random tests do, and on which seeds.

For each commit a little, on the same seeds, so that a commit is judged by what it changes and a failure is there again
in the next run. At night much, on seeds that nobody has seen: `SCALER_TESTS=nightly`, as `make nightly` sets it. One
number is drawn then, shown in the first lines of the run, and SCALER_SEED=<number> repeats it.

Not here: what a failing test says about how to play its seed again (each test).
"""

import os
import random

import hypothesis
import pytest

NIGHTLY = os.environ.get("SCALER_TESTS") == "nightly"
TIMES_MORE_AT_NIGHT = 20
_SEED = "SCALER_SEED"

# In the environment, since the processes over which a run is spread must agree on the tests that there are.
os.environ.setdefault(_SEED, str(random.SystemRandom().randrange(1 << 31) if NIGHTLY else 0))
hypothesis.settings.register_profile("commit", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("nightly", print_blob=True, deadline=None)
hypothesis.settings.load_profile("nightly" if NIGHTLY else "commit")


def rounds(per_commit: int) -> int:
    """How many examples, storms or events; `per_commit` for each commit."""
    return per_commit * (TIMES_MORE_AT_NIGHT if NIGHTLY else 1)


def seeds(per_commit: int) -> range:
    """So many seeds, from the run's number on, with room for all that one run may take."""
    first = int(os.environ[_SEED]) << 16
    return range(first, first + rounds(per_commit))


def pytest_report_header() -> str:
    if not NIGHTLY:
        return "random tests: little, on the same seeds"
    return f"random tests: much, on fresh seeds; repeat with SCALER_TESTS=nightly {_SEED}={os.environ[_SEED]}"


@pytest.fixture
def seed() -> int:
    """For a test that draws once."""
    return seeds(1)[0]
