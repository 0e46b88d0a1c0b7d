"""The client under trouble, a process of its own so that it can be stopped: submits tasks, and checks every answer.

Started with the settings of `Load` as JSON; it says `ready`, submits until its time is over or its tasks are done, and
at the end writes what came of them to standard output. `bystander` is a client that is there to be killed.
"""

import itertools
import json
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from scaler import Client
from scaler.exceptions import WorkerDiedError
from tests.chaos.tasks import CRASHES_ALWAYS, CRASHES_ONCE, beat, idle, join, square

MOST_OPEN = 1_000
MOST_PROBLEMS = 20  # that are told
FIRST_OF_MAPS = 1 << 32


@dataclass(frozen=True)
class Load:
    """`seconds` and `tasks`: whichever is over first; 0 is no bound."""

    address: str
    journal: str
    seed: int
    seconds: float
    tasks: int
    task_seconds: float
    is_mixed: bool  # large arguments, maps, graphs and tasks that crash, besides small ones
    patience_s: float


@dataclass
class Outcome:
    """What came of the tasks."""

    submitted: int = 0
    right: int = 0
    wrong: int = 0
    lost: int = 0
    doubled: int = 0
    died_as_expected: int = 0
    maps: int = 0
    map_calls: int = 0
    graphs: int = 0
    graph_nodes: int = 0
    begin_ns: int = 0
    end_ns: int = 0  # of submitting
    problems: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(text)


def crash_and_payload(load: Load, task: int) -> tuple[int, bytes]:
    """What is to become of this task, by its number alone."""
    chance = random.Random(load.seed << 32 | task)
    if not load.is_mixed:
        return 0, b"%d" % task
    what = chance.random()
    if what < 0.0005:
        return CRASHES_ONCE, b"once"
    if what < 0.0006:
        return CRASHES_ALWAYS, b"always"
    if what < 0.02:
        return 0, chance.randbytes(chance.choice((5_000, 50_000)))
    if what < 0.0205:
        return 0, chance.randbytes(1 << 20) * chance.choice((1, 4))
    return 0, chance.randbytes(20)


class Submitter:
    """Submits tasks and checks their answers."""

    def __init__(self, client: Client, load: Load) -> None:
        self._client, self._load = client, load
        self.outcome = Outcome()
        self._calls: Counter[int] = Counter()  # of the callbacks of some of the futures
        self._open: deque[tuple[int, Any]] = deque()

    def run(self) -> None:
        load, outcome = self._load, self.outcome
        outcome.begin_ns = time.monotonic_ns()
        deadline = time.monotonic() + load.seconds if load.seconds else float("inf")
        for task in itertools.count():
            if time.monotonic() > deadline or (load.tasks and task >= load.tasks):
                break
            self._submit(task)
            if len(self._open) >= MOST_OPEN:
                self._check()
        outcome.end_ns = time.monotonic_ns()
        while self._open:
            self._check()
        outcome.doubled += sum(count - 1 for count in self._calls.values() if count > 1)

    def _submit(self, task: int) -> None:
        load = self._load
        crash, payload = crash_and_payload(load, task)
        future = self._client.submit(beat, load.journal, task, load.task_seconds, crash, payload)
        if task % 100 == 0:
            future.add_done_callback(lambda _: self._calls.update([task]))
        self._open.append((task, future))
        self.outcome.submitted += 1

    def _check(self) -> None:
        """Wait for the oldest."""
        outcome = self.outcome
        task, future = self._open.popleft()
        crash, payload = crash_and_payload(self._load, task)
        try:
            answer = future.result(self._load.patience_s)
        except WorkerDiedError as error:
            if crash == CRASHES_ALWAYS:
                outcome.died_as_expected += 1
            else:
                outcome.lost += 1
                outcome.note(f"task {task} failed: {error!r}")
        except Exception as error:
            outcome.lost += 1
            outcome.note(f"task {task} failed: {error!r}")
        else:
            if answer == (task, payload[::-1]) and crash != CRASHES_ALWAYS:
                outcome.right += 1
            else:
                outcome.wrong += 1
                outcome.note(f"task {task} was answered {str(answer)[:80]}")


def repeat(what: str, call: Callable[[], None], outcome: Outcome, is_over: threading.Event) -> None:
    """One call after the other, beside all else. One that raises has lost something."""
    while not is_over.is_set():
        try:
            call()
        except Exception as error:
            outcome.lost += 1
            outcome.note(f"a {what} failed: {error!r}")
            is_over.wait(1.0)
        else:
            is_over.wait(0.05)


class Maps:
    """Each call is a map of short calls."""

    def __init__(self, client: Client, outcome: Outcome) -> None:
        self._client, self._outcome = client, outcome
        self._starts = itertools.count(FIRST_OF_MAPS, 1000)

    def __call__(self) -> None:
        outcome, start = self._outcome, next(self._starts)
        answers = self._client.map(square, ((x,) for x in range(start, start + 1000)))
        outcome.maps += 1
        outcome.map_calls += len(answers)
        if answers != [x * x for x in range(start, start + 1000)]:
            outcome.wrong += 1
            outcome.note(f"the map from {start} on was answered wrongly")


def random_graph(chance: random.Random) -> tuple[dict[str, Any], dict[str, int]]:
    """Nodes that need up to three of the last ones each, some with large results; and what some of them come to."""
    graph: dict[str, Any] = {}
    sums: dict[str, int] = {}
    for number in range(chance.randrange(20, 400)):
        below = [f"n{chance.randrange(max(0, number - 30), number)}" for _ in range(chance.randrange(4)) if number]
        name = f"n{number}"
        graph[name] = (join, chance.choice((0, 0, 0, 10, 300_000)), 0.0005 * chance.randrange(3), number, *below)
        sums[name] = number + sum(sums[one] for one in below)
    wanted = chance.sample(list(graph), min(len(graph), 10))
    return graph, {name: sums[name] for name in wanted}


class Graphs:
    """Each call is a graph."""

    def __init__(self, client: Client, outcome: Outcome, seed: int) -> None:
        self._client, self._outcome, self._chance = client, outcome, random.Random(seed)

    def __call__(self) -> None:
        outcome = self._outcome
        graph, sums = random_graph(self._chance)
        answers = self._client.get(graph, list(sums))
        outcome.graphs += 1
        outcome.graph_nodes += len(graph)
        if {name: total for name, (total, _) in answers.items()} != sums:
            outcome.wrong += 1
            outcome.note(f"a graph of {len(graph)} nodes was answered wrongly")


def main(load: Load) -> None:
    with Client(load.address) as client:
        submitter, is_over = Submitter(client, load), threading.Event()
        outcome = submitter.outcome
        beside = [
            threading.Thread(target=repeat, args=("map", Maps(client, outcome), outcome, is_over)),
            threading.Thread(target=repeat, args=("graph", Graphs(client, outcome, load.seed), outcome, is_over)),
        ]
        print("ready", flush=True)
        if load.is_mixed:
            for thread in beside:
                thread.start()
        try:
            submitter.run()
        finally:
            is_over.set()
            if load.is_mixed:
                for thread in beside:
                    thread.join()
        submitter.outcome.doubled += client._rings.strays
    print(json.dumps(asdict(submitter.outcome)), flush=True)


def bystander(address: str) -> None:
    """A client that has tasks open at any moment."""
    with Client(address) as client:
        for _ in _forever():
            for future in [client.submit(idle, 0.001) for _ in range(20)]:
                future.result()
            client.submit(idle, 0.2).result()


def _forever() -> Iterator[int]:
    return itertools.count()


if __name__ == "__main__":
    if sys.argv[1] == "bystander":
        bystander(sys.argv[2])
    else:
        main(Load(**json.loads(sys.argv[2])))
