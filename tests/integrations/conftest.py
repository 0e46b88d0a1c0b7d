"""One cluster for what does not depend on the link."""

from collections.abc import Iterator

import pytest

from scaler import Client, SchedulerClusterCombo


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address()) as made:
        yield made
