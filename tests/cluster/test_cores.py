"""How many cores a process may use: the least of its affinity and its control groups' quotas."""

import os

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.cluster.cores import thread_share, usable_cores


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Make control groups: files by path, and what /proc/self/cgroup says. 8 cores are in the affinity."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def cores(own: str, **files: str) -> int:
        (tmp_path / "own").write_text(own)
        for path, content in files.items():
            file = tmp_path / "root" / path.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return usable_cores(tmp_path / "root", tmp_path / "own")

    return cores


def test_without_control_groups_it_is_the_affinity(groups, tmp_path):
    assert groups("") == 8
    assert usable_cores(tmp_path / "nothing", tmp_path / "nothing") == 8
    assert groups("0::/nowhere\n") == 8


def test_a_quota_counts_rounded_up(groups):
    assert groups("0::/\n", cpu_dot_max="250000 100000\n") == 3
    assert groups("0::/\n", cpu_dot_max="5000 100000\n") == 1
    assert groups("0::/\n", cpu_dot_max="max 100000\n") == 8
    assert groups("0::/\n", cpu_dot_max="6400000 100000\n") == 8


def test_a_quota_of_any_group_above_counts(groups):
    assert groups("0::/a/b\n", a__cpu_dot_max="200000 100000", a__b__cpu_dot_max="max 100000") == 2


def test_version_1_of_control_groups(groups):
    quota = {"cpu__x__cpu_dot_cfs_quota_us": "150000", "cpu__x__cpu_dot_cfs_period_us": "100000"}
    assert groups("5:memory:/x\n4:cpu,cpuacct:/x\n", **quota) == 2
    assert groups("4:cpu:/x\n", **{**quota, "cpu__x__cpu_dot_cfs_quota_us": "-1"}) == 8


def test_what_makes_no_sense_is_passed_over(groups):
    assert groups("0::/\n", cpu_dot_max="nonsense") == 8


def test_workers_share_the_cores_for_the_threads_of_numeric_libraries(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_cores()
    assert thread_share(1) == {"OMP_NUM_THREADS": str(cores)}
    assert thread_share(cores) == thread_share(3 * cores) == {"OMP_NUM_THREADS": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert thread_share(1) == {}


@pytest.mark.parametrize(("theirs", "seen"), [(None, "1"), ("7", "7")])
def test_a_worker_has_its_share_or_what_the_user_has_set(monkeypatch, theirs, seen):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if theirs is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", theirs)
    with (
        SchedulerClusterCombo(n_workers=max(2, usable_cores())) as combo,
        Client(combo.get_address()) as client,
    ):
        assert client.submit(os.getenv, "OMP_NUM_THREADS").result() == seen
