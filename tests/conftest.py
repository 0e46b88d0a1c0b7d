"""Clusters for tests that need real processes: one per kind of link, kept for the whole run."""

from collections.abc import Iterator

import pytest

from scaler import Client, SchedulerClusterCombo


@pytest.fixture(scope="session", params=["rings", "small rings"])
def cluster(request: pytest.FixtureRequest) -> Iterator[SchedulerClusterCombo]:
    """A scheduler and two workers."""
    with SchedulerClusterCombo(2, ring_bytes=65536 if request.param == "small rings" else 262144) as combo:
        yield combo


@pytest.fixture
def client(cluster: SchedulerClusterCombo) -> Iterator[Client]:
    """A client of its own for each test."""
    with Client(cluster.get_address(), timeout_seconds=20) as made:
        yield made
