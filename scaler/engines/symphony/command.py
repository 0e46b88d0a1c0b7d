"""The command scaler_symphony_cluster."""

import importlib.util
import socket

from scaler.config.table import SymphonyConfig
from scaler.engines.program import run_engine
from scaler.engines.symphony.engine import SymphonyEngine
from scaler.exceptions import EngineError


def run(config: SymphonyConfig) -> int:
    """Until a signal, a client or the end of the scheduler stops it."""
    if importlib.util.find_spec("soamapi") is None:
        raise EngineError(
            "there is no soamapi here: it comes with IBM Spectrum Symphony's client; put the folder of its Python API "
            "on PYTHONPATH"
        )
    return run_engine(
        lambda: make_engine(config), str(config.address),
        name=config.worker_name or f"{socket.gethostname()}-symphony", death_timeout_s=config.death_timeout_seconds,
        keys=config.keys, limit_s=config.task_timeout_seconds,
    )  # fmt: skip


def make_engine(config: SymphonyConfig) -> SymphonyEngine:
    engine = SymphonyEngine(
        config.service_name, config.base_concurrency, user=config.symphony_user, password=config.symphony_password,
        session_type=config.session_type,
    )  # fmt: skip
    engine.await_up()
    return engine
