"""What several files here need."""

from collections.abc import Iterator

import pytest

from tests.restartable import LINKS, Restartable


@pytest.fixture(params=LINKS)
def stage(request: pytest.FixtureRequest) -> Iterator[Restartable]:
    made = Restartable(request.param)
    yield made
    made.close()
