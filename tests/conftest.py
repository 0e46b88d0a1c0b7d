"""Clusters for tests that need real processes: one per kind of link, kept for the whole run."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from scaler import Client, SchedulerClusterCombo
from tests.elsewhere import RemoteCluster

pytest_plugins = ["tests.effort", "tests.leaks"]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background job, and all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
Cluster = SchedulerClusterCombo | RemoteCluster

# Files whose subject is not changed by how much a ring holds. On small rings they are run at night only.
RING_SIZE_IS_NOT_THE_POINT = {
    "test_by_value.py",
    "test_callables.py",
    "test_client_death.py",
    "test_deaths.py",
    "test_failures.py",
    "test_failures_are_let_go.py",
    "test_fairness.py",
    "test_forks.py",
    "test_functions.py",
    "test_graph_restart.py",
    "test_interruptions.py",
    "test_main.py",
    "test_options.py",
    "test_retirement.py",
    "test_waiting.py",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tests.effort import NIGHTLY  # a plugin, which pytest wants to be the first to import

    def is_for_the_night(item: pytest.Item) -> bool:
        if item.get_closest_marker("at_night") is not None:
            return True
        return "small rings" in item.name and item.path.name in RING_SIZE_IS_NOT_THE_POINT

    left_out = [] if NIGHTLY else [item for item in items if is_for_the_night(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # The longest test by far goes first, so that nobody waits for it alone in the end.
    items.sort(key=lambda item: item.path.name != "test_source_distribution.py")


def make_cluster(link: str, scheduler: dict[str, Any] | None = None, **options: Any) -> Cluster:
    """A scheduler and two workers; `options` are the workers', but for those of `scheduler`, which is elsewhere."""
    if link == "wire":
        return RemoteCluster(2, workers=options, **(scheduler or {}))
    return SchedulerClusterCombo(2, ring_bytes=65536 if link == "small rings" else 262144, **options)


@pytest.fixture(scope="session", params=["rings", "small rings", "wire"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Everything that uses this fixture runs on every kind of link (but see RING_SIZE_IS_NOT_THE_POINT)."""
    with make_cluster(request.param) as made:
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A client of its own for each test."""
    with Client(cluster.get_address(), timeout_seconds=20) as made:
        yield made
