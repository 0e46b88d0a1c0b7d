"""The fixture that all tests of a client's side of its rings share."""

import pytest

from tests.native.client.played_scheduler import Scheduler


@pytest.fixture
def scheduler():
    made = Scheduler()
    yield made
    made.close()
