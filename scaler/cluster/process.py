"""The supervisor as a child of a program that made a Cluster: settings in, reports out, until the creator is gone."""

import asyncio
import logging
import signal
import sys

from scaler.cluster.creator import Creator
from scaler.cluster.supervisor import Supervisor, WorkerSettings


async def serve(creator: Creator) -> None:
    settings = creator.settings()
    logging.basicConfig(level=settings["logging_level"])
    supervisor = Supervisor(
        settings["address"],
        settings["names"],
        WorkerSettings(**settings["worker"]),
        death_timeout_s=settings["death_timeout_s"],
        on_ready=lambda: creator.report(ready=True),
    )
    loop = asyncio.get_running_loop()
    loop.add_reader(creator, supervisor.stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.serve()


def main() -> int:
    creator = Creator.from_arguments()
    try:
        asyncio.run(serve(creator))
    except Exception as error:
        creator.report(error=f"{type(error).__name__}: {error}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
