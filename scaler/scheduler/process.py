"""The scheduler as a child of a program that made one: options in, its address out, until the creator is gone."""

import logging

from scaler.config.table import SchedulerConfig
from scaler.config.values import make_config
from scaler.exceptions import ScalerError
from scaler.program import logs
from scaler.program.creator import Creator
from scaler.program.signals import hold
from scaler.scheduler.program import run


def main(creator: Creator) -> int:
    return logs.end(_run(creator))


def _run(creator: Creator) -> int:
    try:
        config = make_config(SchedulerConfig, creator.settings())
        hold()
        logs.set_up(config.logging_paths, config.logging_level, config.logging_config_file)
        return run(config, creator.fileno(), lambda bound: creator.report(ready=str(bound)))
    except (ScalerError, OSError) as error:
        creator.report(error=str(error))
        return 1
    except Exception as error:
        logging.getLogger(__name__).critical("the scheduler has failed", exc_info=True)
        creator.report(error=f"{type(error).__name__}: {error}")
        return 1
