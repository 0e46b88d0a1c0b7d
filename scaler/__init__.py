"""Scaler: run many small Python tasks on every core of a machine or a cluster.

Public names are imported when first used, so that a worker does not pay for what only clients need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scaler.program.interpreter import check_interpreter

check_interpreter()

if TYPE_CHECKING:
    from scaler.client.async_client import AsyncClient as AsyncClient
    from scaler.client.client import Client as Client
    from scaler.client.completed import as_completed as as_completed
    from scaler.client.current_client import current_client as current_client
    from scaler.client.current_client import worker_resources as worker_resources
    from scaler.client.future import ProfileResult as ProfileResult
    from scaler.client.future import ScalerFuture as ScalerFuture
    from scaler.client.graph.matrix import MatrixGraph as MatrixGraph
    from scaler.client.progress import progress as progress
    from scaler.client.serializer import Serializer as Serializer
    from scaler.cluster.combo import SchedulerClusterCombo as SchedulerClusterCombo
    from scaler.cluster.launch import Cluster as Cluster
    from scaler.cluster.launch import Scheduler as Scheduler
    from scaler.integrations.executor import ScalerExecutor as ScalerExecutor
    from scaler.values.named import NamedFunction as NamedFunction
    from scaler.values.reference import ObjectReference as ObjectReference
    from scaler.worker.value import worker_value as worker_value

_HOMES = {
    "AsyncClient": "scaler.client.async_client",
    "Client": "scaler.client.client",
    "Cluster": "scaler.cluster.launch",
    "MatrixGraph": "scaler.client.graph.matrix",
    "NamedFunction": "scaler.values.named",
    "ObjectReference": "scaler.values.reference",
    "ProfileResult": "scaler.client.future",
    "ScalerExecutor": "scaler.integrations.executor",
    "ScalerFuture": "scaler.client.future",
    "Scheduler": "scaler.cluster.launch",
    "SchedulerClusterCombo": "scaler.cluster.combo",
    "Serializer": "scaler.client.serializer",
    "as_completed": "scaler.client.completed",
    "current_client": "scaler.client.current_client",
    "progress": "scaler.client.progress",
    "worker_resources": "scaler.client.current_client",
    "worker_value": "scaler.worker.value",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _find_version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'scaler' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def _find_version() -> str:
    """As installed, or, of a source tree that is not, as its pyproject.toml says."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("scaler")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
        return str(project["version"])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
