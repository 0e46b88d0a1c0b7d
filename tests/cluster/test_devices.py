"""What a host's environment says that it has, and how a worker is pinned."""

import pytest

from scaler.cluster.devices import find_resources, pinning_variables, resources_of
from scaler.config.table import ClusterConfig
from scaler.config.values import make_config
from scaler.values.resources import Resources, parse_resources, share_out


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, ()),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ("2", "3")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ("0",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1, MIG-2", "SLURM_JOB_GPUS": "7"}, ("GPU-1", "MIG-2")),
        ({"ROCR_VISIBLE_DEVICES": "1"}, ("1",)),
        ({"SLURM_JOB_GPUS": "0,1"}, ("0", "1")),
        ({"SLURM_GPUS_ON_NODE": "3"}, ("0", "1", "2")),
        ({"SLURM_GPUS_ON_NODE": "gpu:2"}, ("0", "1")),
    ],
)
def test_devices(environment, gpus):
    assert find_resources(environment).pools == ({"gpu": gpus} if gpus else {})


@pytest.mark.parametrize(
    ("environment", "n_bytes"),
    [
        ({"SLURM_MEM_PER_NODE": "1024"}, 2**30),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}, 2**31),
        ({"SLURM_MEM_PER_CPU": "512"}, None),
    ],
)
def test_memory(environment, n_bytes):
    assert find_resources(environment).sums.get("mem") == n_bytes


def test_what_is_found_is_had_only_by_those_that_ask_for_it():
    environment = {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_MEM_PER_NODE": "1"}

    def found(text):
        config = make_config(ClusterConfig, {"address": "tcp://127.0.0.1:1", "resources": text})
        return resources_of(config, environment)

    assert not found(None)
    assert found("auto") == Resources({"mem": 2.0**20}, {"gpu": ("0", "1")})
    assert found("auto,gpu=[1],linux") == Resources({"mem": 2.0**20}, {"gpu": ("1",)}, frozenset({"linux"}))


def test_a_worker_sees_its_devices_and_no_others():
    share = share_out(parse_resources("gpu=[4,5],port=[80]"), 2, "owner")[1]
    assert pinning_variables(share, {}) == {
        "CUDA_VISIBLE_DEVICES": "5", "SCALER_RESOURCE_GPU": "5", "SCALER_RESOURCE_PORT": "80",
    }  # fmt: skip
    amd = pinning_variables(share, {"ROCR_VISIBLE_DEVICES": "4,5"})
    assert amd["ROCR_VISIBLE_DEVICES"] == "5"
    assert "CUDA_VISIBLE_DEVICES" not in amd
    assert pinning_variables(share_out(parse_resources("linux"), 1, "owner")[0], {}) == {}
