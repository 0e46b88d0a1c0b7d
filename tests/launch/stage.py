"""A scheduler, a client, and a launcher in front of a batch system, as a user starts them."""

from contextlib import ExitStack
from typing import Any

from scaler import Client
from tests.entry_points.commands import Command, SchedulerCommand


class LaunchStage:
    """Leaving the block ends the scheduler in an orderly way; a launcher the test has to end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.scheduler = self._stack.enter_context(SchedulerCommand("--insecure"))
        self.client = Client(self.scheduler.address, timeout_seconds=20)
        self.once = self.client.options(retries=0)

    def launcher(self, *arguments: str) -> Command:
        return self._stack.enter_context(Command("scaler_cluster", self.scheduler.address, *arguments))

    def __enter__(self) -> "LaunchStage":
        return self

    def __exit__(self, *error: Any) -> None:
        with self._stack:
            self.client.disconnect()
            self.scheduler.stop()
