"""The scheduler as a child of a program that made one: settings in, its address out, until the creator is gone."""

import logging
import sys

from scaler.address import Address
from scaler.cluster.creator import Creator
from scaler.exceptions import ScalerError
from scaler.scheduler.program import run
from scaler.scheduler.scheduler import Scheduler


def main() -> int:
    creator = Creator.from_arguments()
    settings = creator.settings()
    logging.basicConfig(level=settings["logging_level"])
    try:
        scheduler = Scheduler(
            queue_size=settings["queue_size"],
            protected=settings["protected"],
            client_queue_bytes=settings["client_queue_bytes"],
        )
        address = Address.parse(settings["address"])
        return run(scheduler, address, creator.fileno(), lambda bound: creator.report(ready=str(bound)))
    except (ScalerError, OSError) as error:
        creator.report(error=str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
