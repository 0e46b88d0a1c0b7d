"""Who may look: whoever has a key of this scheduler, in any role; and it goes on when a scheduler comes with others."""

import os
from pathlib import Path

import pytest

from scaler import Client, Scheduler, SchedulerClusterCombo
from scaler.keys.find import find_monitor_address
from scaler.keys.folder import make_folder, split_folder
from scaler.monitor.subscriber import MonitorError, Subscriber
from tests.e2e import calls
from tests.processes import wait_until


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "connections"))
    monkeypatch.delenv("SCALER_ADDRESS", raising=False)
    return tmp_path / "connections"


def test_a_viewer_of_this_user_needs_no_address_and_no_keys() -> None:
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        client.submit(calls.add_one, 1).result(20)
        with Subscriber(find_monitor_address(None)) as viewer:
            assert viewer.read_first(10).topic == "summary"


@pytest.mark.parametrize("role", ["monitor", "client", "worker"])
def test_every_role_may_look(role: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "keys")
    split_folder(folder)
    with Scheduler(keys=str(folder / "scheduler")):
        address = find_monitor_address(None)
        with Subscriber(address, keys=str(folder / role)) as viewer:
            assert viewer.read_first(10).topic == "summary"
        with Subscriber(address) as viewer, pytest.raises(MonitorError, match="if it wants keys, give them"):
            viewer.read_first(1)
        other = make_folder(tmp_path / "other")
        with Subscriber(address, keys=str(other)) as viewer, pytest.raises(MonitorError, match="publishes no reports"):
            viewer.read_first(1)


def test_a_viewer_goes_on_when_a_scheduler_is_started_again_with_other_keys() -> None:
    with Scheduler() as scheduler:
        address, monitor = scheduler.get_address(), find_monitor_address(None)
        with Subscriber(monitor) as viewer:
            first = viewer.read_first(10)
            scheduler.shutdown()
            with Scheduler(address, monitor_address=monitor):
                wait_until(lambda: (report := viewer.read(0.2)) is not None and report.epoch != first.epoch)
                assert os.path.exists(os.environ["SCALER_CONNECTIONS"])
