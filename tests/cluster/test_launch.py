"""Scheduler, Cluster and SchedulerClusterCombo, started from code: what they take, how they start and end."""

import inspect
import logging
import os
import resource
import subprocess
import sys

import psutil
import pytest

from scaler import Client, Cluster, Scheduler, SchedulerClusterCombo
from scaler.cluster.cores import usable_cores
from scaler.cluster.launch import Launched
from scaler.cluster.program import worker_names
from scaler.config import idle
from scaler.config.table import ClusterConfig, SchedulerConfig
from scaler.config.values import make_config
from scaler.exceptions import NoWorkerError, OptionError, ScalerError
from tests.e2e import calls
from tests.processes import assert_gone, tree, wait_until, workers_of


def children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_scheduler_and_clusters_by_themselves():
    before = children()
    with Scheduler() as scheduler, Client(scheduler.get_address(), timeout_seconds=20) as client:
        future = client.submit(calls.add_one, 1)
        with Cluster(scheduler.get_address(), 1) as cluster:
            assert future.result(10) == 2
            with Cluster(scheduler.get_address(), worker_names=["left", "right"]) as other:
                assert other.child is not None
                assert len(workers_of(other.child.pid)) == 2
            cluster.shutdown()
            cluster.shutdown()
        assert scheduler.get_address().startswith("tcp://127.0.0.1:")
    assert children() == before


def test_combo_takes_what_it_took_in_the_version_before_in_the_same_order():
    signature = inspect.signature(SchedulerClusterCombo).parameters
    positional = [name for name, of in signature.items() if of.kind is of.POSITIONAL_OR_KEYWORD]
    assert positional == [
        "n_workers", "address", "monitor_address", "worker_io_threads", "scheduler_io_threads",
        "max_number_of_tasks_waiting", "heartbeat_interval_seconds", "client_timeout_seconds",
        "worker_timeout_seconds", "object_retention_seconds", "task_timeout_seconds", "death_timeout_seconds",
        "load_balance_seconds", "load_balance_trigger_times", "garbage_collect_interval_seconds",
        "trim_memory_threshold_bytes", "per_worker_queue_size", "hard_processor_suspend", "protected", "event_loop",
        "logging_paths", "logging_level", "logging_config_file",
    ]  # fmt: skip
    defaults = [signature[name].default for name in positional]
    assert defaults == [
        inspect.Parameter.empty, None, None, 1, 1, -1, 2, 60, 60, 60, 0, 300, 0, 2, 30, 1073741824, 1000, False, True,
        "builtin", ("/dev/stderr",), "WARNING", None,
    ]  # fmt: skip


def test_what_combo_is_given_is_what_its_scheduler_and_its_cluster_are_started_with(monkeypatch):
    started = {}

    def note(self, config, **more):
        started[type(config)] = config
        self._report, self._child = "tcp://127.0.0.1:9", getattr(self, "_waiting", None)  # which is there already

    monkeypatch.setattr(Launched, "_launch", note)
    with SchedulerClusterCombo(
        3, worker_io_threads=5, scheduler_io_threads=7, ring_bytes=1 << 20, stop_grace_seconds=1.5, protected=False,
        heartbeat_interval_seconds=9, logging_paths=iter(["/dev/stdout"]), client_queue_bytes=1 << 20,
        event_loop="uvloop",
    ):  # fmt: skip
        pass
    cluster, scheduler = started[ClusterConfig], started[SchedulerConfig]
    assert (cluster.num_of_workers, cluster.io_threads, cluster.ring_bytes, cluster.stop_grace_seconds) == (
        3, 5, 1 << 20, 1.5
    )  # fmt: skip
    assert (cluster.heartbeat_interval, str(cluster.address)) == (9, "tcp://127.0.0.1:9")
    assert (scheduler.io_threads, scheduler.protected, scheduler.client_queue_bytes) == (7, False, 1 << 20)
    for each in (cluster, scheduler):
        assert (each.logging_paths, each.logging_level, each.event_loop) == (("/dev/stdout",), "WARNING", "uvloop")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"n_workers": 0}, "n_workers must be a whole number, at least 1"),
        ({"n_workers": "2"}, "n_workers must be a whole number.*not '2'"),
        ({"n_workers": 1, "ring_bytes": 1000}, "ring_bytes must be"),
        ({"n_workers": 1, "worker_io_threads": 0}, "worker_io_threads must be"),
        ({"n_workers": 1, "event_loop": "other"}, "event_loop must be one of builtin, uvloop"),
        ({"n_workers": 1, "logging_level": "LOUD"}, "logging_level must be one of"),
        ({"n_workers": 1, "logging_paths": ["/nonexistent/log"]}, "cannot log to /nonexistent/log"),
        ({"n_workers": 1, "address": "tcp://127.0.0.1"}, "has no port"),
        ({"n_workers": 1, "address": "tcp://0.0.0.0:0"}, "insecure=True"),
    ],
)
def test_values_that_cannot_be_are_errors_and_leave_nothing(options, why):
    before = children()
    with pytest.raises(ScalerError, match=why):
        SchedulerClusterCombo(**options)
    wait_until(lambda: children() == before)


def test_a_wildcard_is_accepted_when_said_to_be_insecure():
    with SchedulerClusterCombo(1, "tcp://0.0.0.0:0", insecure=True) as combo, Client(combo.get_address()) as client:
        assert client.submit(calls.add_one, 1).result(10) == 2


def test_ipv6():
    with SchedulerClusterCombo(1, "tcp://[::1]:0") as combo, Client(combo.get_address()) as client:
        assert combo.get_address().startswith("tcp://[::1]:")
        assert client.submit(calls.add_one, 1).result(10) == 2


def test_ipc_leaves_no_file(tmp_path):
    with SchedulerClusterCombo(1, f"ipc://{tmp_path}/scheduler") as combo, Client(combo.get_address()) as client:
        assert client.submit(calls.add_one, 1).result(10) == 2
    assert os.listdir(tmp_path) == []


def test_two_schedulers_do_not_share_an_ipc_path(tmp_path):
    address = f"ipc://{tmp_path}/scheduler"
    with SchedulerClusterCombo(1, address) as combo, Client(combo.get_address()) as client:
        with pytest.raises(ScalerError, match="in use"):
            Scheduler(address)
        assert client.submit(calls.add_one, 1).result(10) == 2


def test_a_program_stays_quiet(capfd):
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        assert client.submit(calls.add_one, 1).result(10) == 2
    assert capfd.readouterr() == ("", "")


def test_logs_go_where_they_should(tmp_path, capfd):
    log = tmp_path / "scaler.log"
    with SchedulerClusterCombo(1, logging_paths=str(log), logging_level="INFO") as combo:
        address = combo.get_address()
    text = log.read_text()
    assert text.startswith("[INFO]20")
    assert f"scheduler listens at {address}" in text
    assert "cluster is ready: 1 workers" in text
    assert "cluster stops" in text
    assert capfd.readouterr() == ("", "")


def test_options_without_effect_are_announced_once_in_the_creators_log(caplog, monkeypatch):
    monkeypatch.setattr(idle, "_told", set())
    for _ in range(2):
        with Scheduler(object_retention_seconds=7):
            pass
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "object_retention_seconds is deprecated and has no effect: an object goes when nobody refers to it any more"
    ]


def test_no_scheduler_is_an_error_after_the_death_timeout():
    before = children()
    with pytest.raises(ScalerError, match=r"no scheduler answered at tcp://127\.0\.0\.1:9"):
        Cluster("tcp://127.0.0.1:9", 1, death_timeout_seconds=0.2)
    wait_until(lambda: children() == before)


def test_busy_workers_are_ended_all_at_once():
    with SchedulerClusterCombo(4) as combo, Client(combo.get_address()) as client:
        futures = [client.submit(calls.sleep_for, 60) for _ in range(4)]
        processes = [process for child in combo._children for process in tree(child.pid)]
        assert len(processes) == 7  # with what the workers were forked from
        combo.shutdown()
        assert_gone(processes, 0)
        assert not any(future.cancelled() for future in futures)


@pytest.mark.parametrize("in_copy", ["pass", "scheduler.shutdown()"])
def test_a_forked_copy_of_the_creator_neither_stops_it_nor_keeps_it_alive(in_copy):
    code = (
        "import os, sys, time; from scaler import Client, Scheduler\n"
        "scheduler = Scheduler()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        f"    {in_copy}\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "time.sleep(0.3)\n"
        "Client(scheduler.get_address(), timeout_seconds=10).disconnect()\n"
        "print(pid, scheduler.child.pid, flush=True); sys.stdin.read()"
    )
    creator = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert creator.stdout is not None
    copy, scheduler = map(psutil.Process, map(int, creator.stdout.readline().split()))
    try:
        creator.kill()
        assert_gone([scheduler])
        assert copy.is_running()
    finally:
        copy.kill()
        creator.communicate()


def test_more_tasks_than_may_wait_are_answered_with_no_worker():
    with SchedulerClusterCombo(1, max_number_of_tasks_waiting=3) as combo, Client(combo.get_address()) as client:
        running = client.submit(calls.sleep_for, 0.5)
        futures = [client.submit(calls.sleep_for, 0) for _ in range(10)]
        errors = [future.exception(10) for future in futures]
        assert [type(error) for error in errors[:3]] == [type(None)] * 3
        assert {type(error) for error in errors[3:]} == {NoWorkerError}
        assert running.result(10) == 0.5
        assert client.submit(calls.add_one, 1).result(10) == 2


@pytest.mark.parametrize("path", [None, "/nonexistent/first:/nonexistent/second"])
def test_programs_that_a_task_starts_find_what_the_creators_would(monkeypatch, path):
    if path is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", path)
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        assert client.submit(os.getenv, "PYTHONPATH").result(10) == path
        assert client.submit(calls.add_one, 1).result(10) == 2


def test_programs_take_as_many_descriptors_as_they_may():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with SchedulerClusterCombo(1) as combo:
            limits = [resource.prlimit(child.pid, resource.RLIMIT_NOFILE) for child in combo._children]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert limits == [(hard, hard)] * 2


def test_names_of_workers_and_their_number():
    def names(**values):
        return worker_names(make_config(ClusterConfig, {"address": "tcp://127.0.0.1:9", **values}))

    assert names(worker_names=["a", "b"]) == ["a", "b"]
    assert len(set(names(num_of_workers=3))) == 3
    assert len(names()) == usable_cores()
    with pytest.raises(OptionError, match="2 worker names for 1 workers"):
        names(worker_names=["a", "b"], num_of_workers=1)
