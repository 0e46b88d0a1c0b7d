"""Relays, of clients and of clusters, to which a scheduler says anything.

An honest scheduler greets them and gives them something to do; then what it says is drawn. The peers of the relay go on
meanwhile: they submit, work, and write what is drawn into their rings.

Held: a frame is taken, or ends the session with one of the errors that the relay's thread expects; nothing else is
raised, whatever the peers do afterwards, and the next session with the same workers goes on. A client that gives back
what it was given leaves nothing in its relay's store, whatever came and was never named.
"""

import random
from collections.abc import Callable

from scaler._native import FLAG_OBJECTS, KIND_RELEASE, KIND_RESULT, KIND_TASK, split_places
from scaler.exceptions import ScalerError
from scaler.objects.naming import pack_ids
from tests.fuzz.bodies import SAID_BY_SCHEDULER, Drawn
from tests.sim.test_wire import settle
from tests.sim.wire import RemoteClient, RemoteCluster, Rings, World

EVENTS = 200  # of an episode


class RelaysFuzz:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.drawn = Drawn(self.chance)
        self.peers: list[RemoteClient | RemoteCluster] = []
        self.is_client = self.chance.random() < 0.5
        self.begin()

    def begin(self) -> None:
        """A world, its peers greeted and at work."""
        self.world = World()
        client, cluster = RemoteClient(self.world, 5), RemoteCluster(self.world, 2)
        self.peers = [client, cluster]
        client.submit(0, b"abc")
        settle(self.world, [client], [cluster], 2)
        self.peer = client if self.is_client else cluster
        self.side = self.peer.link.side
        self.number = self.side.talk.ledger.received
        self.given_back: list[int] = []  # objects that are to be said to be held no more
        self.is_whole = True  # no frame has ended the session half-way

    def next_number(self) -> int:
        return self.number + 1

    def say(self) -> bool:
        """False if the session is over now."""
        body = self.drawn.body(SAID_BY_SCHEDULER, 1 if self.is_client else 3)
        data = self.drawn.frame(body, self.next_number)
        if data is None:
            return True
        try:
            self.side.on_frame(data)
            self.speak()
        except (ScalerError, ValueError):
            self.is_whole = False
            return False
        self.number = self.side.talk.ledger.received
        return self.side.over is None

    def speak(self) -> None:
        """The relay's turn: what it says nobody hears."""
        self.side.relay.run(True)
        self.side.attend(self.world.now_s)
        self.side.collect()
        self.side.talk.outbox.clear()

    def act(self) -> None:
        """A peer behind the relay does something."""
        chance = self.chance
        if isinstance(self.peer, RemoteClient):
            rings = self.peer.rings
            if chance.random() < 0.5:
                self.peer.submit(chance.choice((0, 1)), chance.randbytes(chance.choice((3, 3000))))
            elif chance.random() < 0.2:
                rings.tasks.write(KIND_TASK, chance.getrandbits(64), chance.randbytes(40), flags=chance.getrandbits(8))
            self.read_results(rings)
        else:
            rings = chance.choice(self.peer.workers).rings
            record = rings.tasks.read(claim=True)
            while rings.down.read() is not None:
                pass
            if record is not None:
                self.drawn.attempts.append(record.attempt)
                rings.results.write(
                    KIND_RESULT, record.task, b"x", function=record.function, attempt=record.attempt, items=record.items
                )
        try:
            self.speak()
        except (ScalerError, ValueError):
            self.is_whole = False
            self.end()
            self.begin()

    def read_results(self, rings: Rings) -> bool:
        """Read all, and give back what results brought. True if there was anything to do."""
        any_read = bool(self.given_back)
        while rings.down.read() is not None:
            pass
        while (record := rings.results.read()) is not None:
            any_read = True
            brought = [place[0] for place in split_places(record.payload)[0]] if record.flags & FLAG_OBJECTS else []
            for object_id in brought:
                self.given_back.append(object_id)
        while self.given_back and rings.up.write(KIND_RELEASE, 0, pack_ids(self.given_back[:1])) is not None:
            self.given_back.pop(0)
        return any_read

    def give_back_all(self) -> None:
        """A client whose session lives reads on until there is nothing left."""
        assert isinstance(self.peer, RemoteClient)
        try:
            while self.read_results(self.peer.rings) or self.side.relay.has_pending:
                self.speak()
            self.speak()
        except (ScalerError, ValueError):
            return
        if self.side.over is None:
            self.side.talk.close()
            assert len(self.side.store) == 0, "an object is left in the store of a relay"

    def end(self) -> None:
        if self.is_client and self.side.over is None and self.is_whole:
            self.give_back_all()
        self.side.talk.close()
        for peer in self.peers:
            if peer is not self.peer:
                peer.link.side.talk.close()
        self.world.left_over(*self.peers)


def episode(seed: int, events: int, on_event: Callable[[int], None]) -> None:
    fuzz = RelaysFuzz(seed)
    for number in range(events):
        on_event(number)
        if fuzz.chance.random() < 0.25:
            fuzz.act()
        elif not fuzz.say():
            fuzz.end()
            fuzz.begin()
    on_event(events)
    fuzz.end()
