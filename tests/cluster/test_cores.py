"""How many cores a process may use: the least of its affinity and its control groups' quotas."""

import os

import pytest

from scaler.cluster.cores import usable_cores


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
