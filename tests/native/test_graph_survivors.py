"""Graphs outlive schedulers: a client sends again what its open targets need, while workers still have some of it.

By seeds. The client here follows the rules of native/client/sent_graph.pyx on its own model; every value says how it
came about, so a result that was put in the place of another would be seen.
"""

import random
import struct
from dataclasses import dataclass

import pytest

from scaler._native import (
    FLAG_INPUTS,
    FLAG_RESENT,
    KIND_CANCEL,
    KIND_RESULT,
    KIND_TASK,
    STATUS_OK,
    pack_inputs,
    pack_supply,
)
from tests.effort import seeds
from tests.native.test_edges import GraphWorker, outcome
from tests.native.test_survivors import BITS, World

HANDED_IN = 8  # what is not there of the inputs will be handed in


@dataclass
class Node:
    inputs: list[int]
    is_target: bool
    users: int = 0


class GraphWorld(World):
    def __init__(self, n_workers: int) -> None:
        self.nodes: dict[int, Node] = {}
        self.values: dict[int, bytes] = {}  # of targets that are done, as the client has read them
        super().__init__(n_workers)

    def submit_graph(self, chance: random.Random) -> None:
        tasks: list[int] = []
        for _ in range(chance.randrange(1, 9)):
            self.number += 1
            task = BITS << 40 | self.number
            inputs = chance.sample(tasks, min(len(tasks), chance.randrange(3)))
            self.nodes[task] = Node(inputs, chance.random() < 0.3)
            tasks.append(task)
        self.nodes[tasks[-1]].is_target = True
        for task in reversed(tasks):
            if not self.nodes[task].is_target and not self.nodes[task].users:
                del self.nodes[task]  # nobody wants it
                continue
            for one in self.nodes[task].inputs:
                self.nodes[one].users += 1
        for task in tasks:
            if task in self.nodes:
                if self.nodes[task].is_target:
                    self.open[task] = b""
                self.send(task, self.nodes[task].users, not self.nodes[task].is_target, 0)

    def send(self, task: int, promised: int, is_inner: bool, flags: int, more: int = 0) -> None:
        inputs = self.nodes[task].inputs
        head = bytearray(pack_inputs(inputs, len(inputs), promised, is_inner))
        struct.pack_into("<I", head, 12, struct.unpack_from("<I", head, 12)[0] | more)
        while self.client.tasks.write(KIND_TASK, task, bytes(head), function=1, flags=FLAG_INPUTS | flags) is None:
            self.pump.run(True)

    def restart(self) -> None:
        if self.epoch:
            self.read()
        still_open, self.open = self.open, {}  # sent again here, not as what waits for nothing
        super().restart()
        self.open = still_open
        needed, users = set(), dict.fromkeys(self.nodes, 0)
        for task in sorted(self.nodes, reverse=True):
            if task in self.open or (users[task] and task not in self.values):
                needed.add(task)
                for one in self.nodes[task].inputs:
                    users[one] += 1
        handed_in = set()
        for task in sorted(needed):
            done = {one for one in self.nodes[task].inputs if one in self.values}
            handed_in |= done
            self.send(task, users[task], task not in self.open, FLAG_RESENT, HANDED_IN if done else 0)
        for task in sorted(handed_in):
            payload = pack_supply(STATUS_OK) + self.values[task]
            while self.client.tasks.write(KIND_TASK, task, payload, flags=FLAG_INPUTS) is None:
                self.pump.run(True)
        self.pump.run(True)

    def cancel(self, chance: random.Random) -> None:
        if self.open:
            task = chance.choice(sorted(self.open))
            if self.client.up.write(KIND_CANCEL, task) is not None:
                del self.open[task]
                self.cancelled.add(task)

    def finish(self, index: int) -> None:
        if self.started[index]:
            record = self.started[index].pop(0)
            inputs, _ = GraphWorker.inputs_of(record)
            value = outcome(record[1] & 0xFFFFFFFF, inputs)
            written = self.workers[index].results.write(
                KIND_RESULT, record[1], value, function=record[3], attempt=record[6]
            )
            assert written is not None

    def read(self) -> None:
        while (record := self.client.results.read()) is not None:
            assert record[5] == STATUS_OK, record[2]
            if record[1] in self.cancelled:
                continue
            assert record[1] in self.open, "answered twice"
            del self.open[record[1]]
            self.values[record[1]] = record[2]

    def value(self, task: int) -> bytes:
        """What it comes to."""
        return outcome(task & 0xFFFFFFFF, [self.value(one) for one in self.nodes[task].inputs])


@pytest.mark.parametrize("seed", seeds(75))
def test_each_target_is_answered_once_whatever_schedulers_die(seed):
    chance = random.Random(seed)
    world = GraphWorld(chance.randrange(1, 4))
    for _ in range(300):
        what, index = chance.random(), chance.randrange(len(world.workers))
        if what < 0.08:
            world.submit_graph(chance)
        elif what < 0.4:
            world.start(index)
        elif what < 0.7:
            world.finish(index)
        elif what < 0.85:
            world.pump.run(True)
        elif what < 0.94:
            world.read()
        elif what < 0.95:
            world.cancel(chance)
        elif what < 0.97:
            world.restart()
        else:
            world.pass_time(2)
    world.work_off()
    assert not world.open
    assert world.values
    assert world.values == {task: world.value(task) for task in world.values}
    assert world.left_over() == [0] * 5
    edges = world.core.edges
    assert (edges.nodes, edges.blobs, edges.blob_bytes) == (0, 0, 0)
