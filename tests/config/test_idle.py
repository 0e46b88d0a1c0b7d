"""Options without effect: accepted, and announced once."""

import logging

import pytest

from scaler.address import Address
from scaler.config import idle
from scaler.config.table import ClusterConfig, SchedulerConfig

LOCAL = Address("127.0.0.1", 2345)


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch):
    monkeypatch.setattr(idle, "_told", set())


def test_defaults_and_options_with_effect_are_not_mentioned(caplog):
    idle.warn_of_idle(SchedulerConfig(address=LOCAL, protected=True, object_retention_seconds=60), "--")
    assert not caplog.records


def test_each_is_announced_once_with_the_reason(caplog):
    config = SchedulerConfig(address=LOCAL, object_retention_seconds=5)
    idle.warn_of_idle(config, "--")
    idle.warn_of_idle(config, "--")
    idle.warn_of_idle(ClusterConfig(address=LOCAL, hard_processor_suspend=True))
    assert [record.getMessage() for record in caplog.records] == [
        "--object-retention-seconds is deprecated and has no effect: an object goes when nobody refers to it any more",
        "hard_processor_suspend is deprecated and has no effect: a task that waits for another is never suspended",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
