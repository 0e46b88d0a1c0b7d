"""What a viewer sees of tasks by the monitor address: the stack of one that runs, and what is wrong with another."""

import os

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.explain import _monitor_of
from scaler.monitor.report import Stack, Summary, task_topic
from scaler.monitor.subscriber import Subscriber
from tests.conftest import make_cluster
from tests.e2e import looked_at
from tests.e2e.stoppable import last_for_ever, marks
from tests.processes import wait_until


def viewer_of(client):
    return Subscriber(_monitor_of(client._address, 10, client._keys), ())


def next_body(viewer, kind):
    while True:
        report = viewer.read(20)
        assert report is not None, viewer.last_problem
        if type(report.body) is kind:
            return report.body


def test_a_viewer_sees_the_stack_of_a_task_that_runs_and_why_another_has_none(tmp_path):
    begun, stop = tmp_path / "begun", tmp_path / "stop"
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client, viewer_of(client) as viewer:
        future = client.submit(looked_at.loop_in_here, str(begun), str(stop))
        wait_until(lambda: os.path.exists(begun))
        viewer.subscribe([task_topic("stack", future.task_id)])
        found = next_body(viewer, Stack)
        assert (found.task, found.problem) == (future.task_id, "")
        assert "in loop_in_here" in found.text
        waiting = client.submit(abs, future)
        viewer.subscribe([task_topic("stack", waiting.task_id)])
        found = next_body(viewer, Stack)
        assert (found.text, "waits for the results of other tasks" in found.problem) == ("", True)
        stop.touch()
        future.result()


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_a_task_that_swallows_its_stop_is_named_in_the_summary(link, tmp_path):
    made = make_cluster(link)
    with made as cluster, Client(cluster.get_address(), timeout_seconds=20) as client, viewer_of(client) as viewer:
        future = client.submit(last_for_ever, str(tmp_path), "swallow everything")
        wait_until(lambda: marks(tmp_path, "swallow everything began"))
        future.cancel()
        viewer.subscribe(["summary"])
        wait_until(lambda: any("last_for_ever" in said for said in next_body(viewer, Summary).warnings))
