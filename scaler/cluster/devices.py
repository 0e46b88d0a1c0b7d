"""Devices: what this host has for tasks that ask for resources, and how a worker is pinned to its part.

`--resources auto` looks at what the host's own tools and batch systems say: which GPUs this process may use, how much
memory its job was given. Nobody has them without asking for it: with one GPU for each worker a program that uses all
of them in one task would see one only.

Rule 1: a worker is pinned by its environment before it starts, so that no library has looked at the devices yet.
Not here: what the words mean (scaler.values.resources).
"""

import os
import re
from collections.abc import Mapping

from scaler.config.table import ClusterConfig
from scaler.values.resources import Resources, Share, parse_resources

AUTO = "auto"
GPU, MEMORY = "gpu", "mem"
# The devices that a process may use, by the makers' libraries, then by batch systems: the first that is set counts.
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_OF_BATCH = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "GPU_DEVICE_ORDINAL")


def resources_of(config: ClusterConfig, environment: Mapping[str, str] = os.environ) -> Resources:
    """What the workers of this cluster have together."""
    given = parse_resources(config.resources or "")
    if AUTO not in given.tags:
        return given
    rest = Resources(given.sums, given.pools, given.tags - {AUTO})
    return rest.with_missing(find_resources(environment))


def find_resources(environment: Mapping[str, str]) -> Resources:
    """What the environment says that this process may use."""
    gpus = _gpus_in(environment)
    memory = _memory_in(environment)
    return Resources({MEMORY: memory} if memory else {}, {GPU: gpus} if gpus else {})


def pinning_variables(share: Share, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a worker with this share: libraries see the devices that it is pinned to, and no others."""
    variables = {f"SCALER_RESOURCE_{_as_variable(name)}": ",".join(units) for name, units in share.units.items()}
    if GPU in share.units:
        names = [name for name in _VISIBLE if name in environment] or [_VISIBLE[0]]
        variables.update(dict.fromkeys(names, ",".join(share.units[GPU])))
    return variables


def _as_variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def _gpus_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    for variable in (*_VISIBLE, *_OF_BATCH):
        text = environment.get(variable)
        if text is not None:
            return _devices(text)
    count = re.search(r"(\d+)\s*$", environment.get("SLURM_GPUS_ON_NODE", ""))
    return tuple(str(number) for number in range(int(count[1]))) if count else ()


def _devices(text: str) -> tuple[str, ...]:
    """As CUDA reads the list: what comes after the first that there cannot be does not count."""
    found: list[str] = []
    for unit in (unit.strip() for unit in text.split(",")):
        if not unit or unit.startswith("-") or unit.lower() in ("none", "void", "nodevfiles") or unit in found:
            break
        found.append(unit)
    return tuple(found)


def _memory_in(environment: Mapping[str, str]) -> float:
    """Bytes: Slurm counts in mebibytes, of the node, or of each of its cores."""
    node = environment.get("SLURM_MEM_PER_NODE", "")
    if node.isdecimal() and int(node):
        return float(int(node) << 20)
    core, cores = environment.get("SLURM_MEM_PER_CPU", ""), environment.get("SLURM_CPUS_ON_NODE", "")
    return float((int(core) << 20) * int(cores)) if core.isdecimal() and cores.isdecimal() else 0.0
