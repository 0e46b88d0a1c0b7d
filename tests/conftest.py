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


def make_cluster(link: str, scheduler: dict[str, Any] | None = None, **options: Any) -> Cluster:
    """A scheduler and two workers; `options` are the workers', but for those of `scheduler`, which is elsewhere."""
    if link == "wire":
        return RemoteCluster(2, workers=options, **(scheduler or {}))
    return SchedulerClusterCombo(2, ring_bytes=65536 if link == "small rings" else 262144, **options)


@pytest.fixture(scope="session", params=["rings", "small rings", "wire"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Everything that uses this fixture runs on every kind of link."""
    with make_cluster(request.param) as made:
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A client of its own for each test."""
    with Client(cluster.get_address(), timeout_seconds=20) as made:
        yield made
