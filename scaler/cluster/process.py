"""The supervisor as a child of a program that made a Cluster: options in, reports out, until the creator is gone."""

import logging
import signal

from scaler.cluster.program import run
from scaler.config.table import ClusterConfig
from scaler.config.values import make_config
from scaler.exceptions import OptionError, ScalerError
from scaler.program import logs
from scaler.program.creator import Creator
from scaler.program.signals import hold


def main(creator: Creator) -> int:
    return logs.end(_run(creator))


def _run(creator: Creator) -> int:
    try:
        settings = creator.settings()
        sys_path = settings.pop("sys_path")
        config = make_config(ClusterConfig, settings)
        if config.launch is not None:
            raise OptionError("clusters are launched by the command scaler_cluster --launch, not from code")
        hold(signal.SIGUSR1)
        logs.set_up(config.logging_paths, config.logging_level, config.logging_config_file)
        return run(
            config, creator.fileno(), lambda: creator.report(ready=True), sys_path,
            lambda why: creator.report(error=why),
        )  # fmt: skip
    except (ScalerError, OSError) as error:
        creator.report(error=str(error))
        return 1
    except Exception as error:
        logging.getLogger(__name__).critical("the supervisor has failed", exc_info=True)
        creator.report(error=f"{type(error).__name__}: {error}")
        return 1
