"""ClusterSide: the relay of a host's workers, in their supervisor's process."""

from collections import deque
from collections.abc import Callable
from typing import Any

from scaler._native import OWN_SEGMENT, Relay, RelayPeer, Segment
from scaler.link.single import with_payload
from scaler.protocol.frames import (
    MOST_INLINE_BYTES,
    Body,
    Cancel,
    FrameError,
    Function,
    Functions,
    Goodbye,
    Joined,
    Left,
    Shutdown,
    Tasks,
    Withdraw,
    Withdrawn,
)
from scaler.relay.relay import RelaySide

MOST_NAMES = 64


class ClusterSide(RelaySide):
    """Tasks in, results out. `dismiss(peer)` is to hang up on a worker: on_left follows."""

    def __init__(self, relay: Relay, life: str, dismiss: Callable[[RelayPeer], None]) -> None:
        super().__init__(relay, life)
        self._dismiss = dismiss
        self.is_shut_down = False  # the scheduler wants no cluster any more
        self._numbers = 0  # how many have been given to workers
        self._untold: deque[Function] = deque()  # functions for which a control ring had no room
        self._waiting: deque[Body] = deque()  # what came after them
        self._arguments: dict[int, dict[tuple[int, int], str]] = {}  # segments by worker, then by task and attempt

    def on_control(self, slot: int, record: tuple[Any, ...]) -> None:
        for peer in self.peers:
            if peer.slot == slot:  # workers have nothing to say there
                self.on_broken(peer)

    def on_broken(self, peer: RelayPeer) -> None:
        self._dismiss(peer)

    def on_body(self, body: Body) -> None:
        self._waiting.append(body)
        self.read_on()

    def read_on(self) -> None:
        """Act on what has come, as far as the workers' control rings have room for functions."""
        while self._untold and self.tell_function(self._untold[0]):
            self._untold.popleft()
        while self._waiting and not self._untold:
            self._act(self._waiting.popleft())

    def _act(self, body: Body) -> None:
        if isinstance(body, Tasks):
            self.batch.put_tasks(body, peers=self._numbers, largest_payload=MOST_INLINE_BYTES)
            for slot, record in self.relay.deliver(self.batch):
                self._deliver_large(slot, record)
        elif isinstance(body, Functions):
            self._untold.extend(body.rows())
            self.read_on()
        elif isinstance(body, Withdraw):
            self.talk.post(Withdrawn.of([(*row, self._withdraw(*row)) for row in body.rows()]))
        elif isinstance(body, Goodbye):
            self.over = body.reason
        elif isinstance(body, Shutdown):
            self.is_shut_down = True
            self.talk.post(Goodbye())
            self.over = "the scheduler stops its workers"
        elif not isinstance(body, Cancel):
            raise FrameError(f"a scheduler does not say {type(body).__name__} to a cluster")

    def _deliver_large(self, slot: int, record: tuple[Any, ...]) -> None:
        place = self.place_of(record)
        names = self._arguments.setdefault(slot, {})
        if len(names) >= MOST_NAMES:  # the worker removes each when it has mapped it: forget those
            names = self._arguments[slot] = {key: name for key, name in names.items() if Segment.exists(name)}
        names[record[1], record[6]] = place[8:].decode("ascii")
        own = (*record[:8], OWN_SEGMENT, *record[9:])
        self.relay.deliver_one(slot, with_payload(own, place))

    def _withdraw(self, slot: int, task: int, attempt: int) -> bool:
        took = bool(self.relay.withdraw(slot, task, attempt))
        name = self._arguments.get(slot, {}).pop((task, attempt), None) if took else None
        if name is not None:
            Segment.unlink(name)
        return took

    def on_joined(self, peer: RelayPeer, name: str, pid: int) -> None:
        """A worker has handed in its rings; called in the order of the peers' numbers."""
        self.peers.append(peer)
        self._numbers = peer.slot + 1
        self.talk.post(Joined(peer.slot, name, pid))

    def on_left(self, peer: RelayPeer, exit_code: int, reason: str) -> None:
        """A worker has gone. What it said is said before that, and nobody else maps what it was sent."""
        self.peers.remove(peer)
        rest = self.relay.remove(peer)
        self._say_asides()
        self.post_all([(peer.slot, rest)])
        self.talk.after_objects(lambda: self.talk.post(Left(peer.slot, exit_code, reason)))
        for name in self._arguments.pop(peer.slot, {}).values():
            Segment.unlink(name)
