"""A scheduler, and an engine that works for it, as a user starts them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scaler import Client
from tests.entry_points.commands import Command, SchedulerCommand

READY = r"works for the scheduler at .*: (\d+) slots"


@contextmanager
def engine_at_work(engine: str, *arguments: str, slots: int = 2) -> Iterator[tuple[SchedulerCommand, Command]]:
    """Both commands, once the engine has joined."""
    about = ("--engine", engine, "-n", str(slots), *arguments)
    with SchedulerCommand() as scheduler, Command("scaler_engine", scheduler.address, *about) as command:
        command.await_line(READY)
        yield scheduler, command
        assert command.stop() == 0, command.err
        assert command.err == ""
        assert scheduler.stop() == 0


@pytest.fixture(scope="module", params=["processes", "threads", "loky"])
def at_work(request: pytest.FixtureRequest) -> Iterator[SchedulerCommand]:
    if request.param == "loky":
        pytest.importorskip("loky", reason="loky is not installed: `pip install loky`")
    with engine_at_work(request.param) as (scheduler, _):
        yield scheduler


@pytest.fixture
def client(at_work: SchedulerCommand) -> Iterator[Client]:
    with Client(at_work.address, timeout_seconds=20) as made:
        yield made
