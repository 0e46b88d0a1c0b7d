"""Explain: why a future is not done yet, as data and as one sentence.

The scheduler is asked at its monitor address, and not over the client's own rings: the question `task/<id>` is there
for viewers anyway, the answer is the same in `scaler_top`, in `scaler_ui` and here, and rings carry nothing that is not
a task's. Where the monitor address is says the scheduler's welcome, which is asked for anew each time: the one that is
there now may be another than at the beginning.

Not here: how the answer is found (scaler.scheduler.explain).
"""

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from scaler.address import Address
from scaler.exceptions import DisconnectedError
from scaler.protocol.frames import Role
from scaler.session.dealer import greet, new_hello

CLIENT_BITS = 24


@dataclass(frozen=True)
class Explanation:
    """Where a task stands. `str()` of it is one sentence."""

    task_id: int
    state: str
    """One word: done, waiting, ready, held_back, placed, lent, doomed, cancelled, unread, kept, unknown."""
    sentence: str
    facts: dict[str, int] = field(default_factory=dict)
    """The same as numbers, such as `ahead`: tasks that are before it."""
    function: str = ""
    worker: str = ""
    waits_for: tuple[int, ...] = ()
    """Ids of tasks whose results it needs, at most 100."""

    def __str__(self) -> str:
        return f"{self.function or 'a task'} ({self.task_id:#x}) {self.sentence}"


def explain(future: Any, address: str, timeout_s: float, keys: str | None = None) -> Explanation:
    """Where the future's task stands. DisconnectedError, or what greeting a scheduler raises, if nobody can say."""
    task: int = future.task_id
    if future.done():
        return Explanation(task, "done", "was cancelled" if future.cancelled() else "is done: its result is here")
    from scaler.monitor.report import Task, task_topic  # with what it needs: a program may never ask
    from scaler.monitor.subscriber import MonitorError, Subscriber

    where = _monitor_of(address, timeout_s, keys)
    if not where:
        raise DisconnectedError(f"the scheduler at {address} publishes nothing that could explain a task")
    with Subscriber(where, (task_topic("task", task),), keys) as viewer:
        try:
            said = viewer.read_first(timeout_s).body
        except MonitorError as error:
            raise DisconnectedError(f"the scheduler did not say where task {task:#x} stands: {error}") from None
    assert isinstance(said, Task)
    return Explanation(
        task, said.state, said.sentence, said.facts.as_dict(), said.function_name, said.worker_name, tuple(said.inputs)
    )


def _monitor_of(address: str, timeout_s: float, keys: str | None = None) -> str:
    """Where the scheduler publishes what viewers see; empty if nowhere."""
    dealer, welcome = greet(
        address,
        lambda: new_hello(Role.CLIENT, secrets.token_bytes(16), client_bits=secrets.randbits(CLIENT_BITS) or 1),
        timeout_s,
        keys=keys,
    )
    dealer.leave()
    if not welcome.monitor:
        return ""
    monitor, scheduler = Address.parse(welcome.monitor), Address.parse(address)
    if not monitor.is_ipc and monitor.host in ("*", "0.0.0.0", "::"):  # it listens everywhere: also where we have asked
        monitor = replace(monitor, host=scheduler.host)
    return str(monitor)
