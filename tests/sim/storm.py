"""Storm: a whole cluster in virtual time, to which everything happens that can: all of it drawn from one seed.

Clients, hosts and their workers come and go by being killed, schedulers, too, with whose successors all go on; frames
are delayed, lost, doubled and put in another order; connections are cut, or nothing gets through for a while. Then the
storm is over, and what must hold is checked:

1. each task of a client that lived through it is answered exactly once, with its own result, unless it was cancelled;
2. no table has anything left in it, and no store an object.

A session that is ended for good (a frame was lost, a silence too long) is a client's death here, and for a host a new
beginning, with new workers.

`python -m tests.sim.storm SEED` plays one again.
"""

import logging
import random
import sys
from collections import Counter, deque
from itertools import chain

from scaler.colocation.names import sweep
from scaler.exceptions import ScalerError
from scaler.protocol.codec import decode
from scaler.protocol.frames import Heartbeat, Welcome
from scaler.session.ledger import NumberError
from tests.sim.wire import Link, RemoteClient, RemoteCluster, RemoteWorker, World

TIMEOUT_S, HEARTBEAT_S, SILENCE_S = 6.0, 1.0, 5.0
STEPS = 500
CALM_TURNS = 400
STATUS_OK, STATUS_WORKER_DIED = 0, 2
FUNCTIONS = (0, 1, 2, 100)  # the last one carries an object
WEIGHTS = {
    "submit": 22, "cancel": 2, "forget": 1, "begin": 12, "finish": 12, "read": 8, "speak": 16, "up": 16, "down": 16,
    "get on": 10, "tick": 6, "wait": 1,
    "cut": 1, "hold": 0.5, "double": 3, "lose": 0.15, "swap": 0.15,
    "kill worker": 0.7, "kill host": 0.25, "kill client": 0.2, "kill scheduler": 0.2,
}  # fmt: skip


class StormLink(Link):
    """A connection with a relay's rules for broken and silent ones, as relay_thread has them."""

    def __init__(self, *arguments: object) -> None:
        self.is_over = False  # its session, for good
        self.held_s = 0.0  # nothing gets through until then
        self.heard_s = self.said_s = 0.0
        super().__init__(*arguments)  # type: ignore[arg-type]

    @property
    def is_held(self) -> bool:
        return self.held_s > self.world.now_s

    @property
    def is_closed(self) -> bool:
        return self.routing_id not in self.world.links

    def connect(self) -> None:
        self.heard_s = self.world.now_s
        super().connect()

    def cut(self) -> None:
        self.world.links.setdefault(self.routing_id, self)
        super().cut()

    def look_after(self) -> None:
        """Begin again on another connection if this one is broken or silent."""
        if not self.is_over and (self.is_closed or self.world.now_s - self.heard_s > SILENCE_S) and not self.is_held:
            self.cut()

    def speak(self) -> None:
        if self.is_over:
            return
        if self.is_greeted and self.world.now_s - self.said_s >= HEARTBEAT_S:
            self.said_s = self.world.now_s
            self.side.talk.say(Heartbeat(1))
        super().speak()

    def carry_up(self) -> None:
        if not self.is_held and not self.is_closed:
            super().carry_up()

    def carry_down(self) -> None:
        if self.is_over or self.is_held or not self.down:
            return
        self.heard_s = self.world.now_s
        data = self.down.popleft()
        body = None if self.is_greeted else decode(data).body
        try:
            if not isinstance(body, Welcome):
                self.side.on_frame(data)
            elif self.welcome is None:
                self.welcome, self.is_greeted = body, True
            elif body.resumed:
                self.side.talk.resume(body.received)
                self.welcome, self.is_greeted = body, True
            else:
                self.is_over = True
        except (ScalerError, NumberError):  # anything else is a frame that should not have been sent
            self.is_over = True
        self.is_over = self.is_over or self.side.over is not None

    def carry_all(self) -> None:
        """All that gets through."""
        while not self.is_over and not self.is_held and (self.down or (self.up and not self.is_closed)):
            self.carry_up()
            self.carry_down()


class StormWorld(World):
    """What is sent to a connection that has been held up for long finds it closed, as ZeroMQ's pings would have it."""

    link_class = StormLink

    def _send(self, routing_id: bytes, data: bytes) -> bool:
        link = self.links.get(routing_id)
        if isinstance(link, StormLink) and link.held_s - self.now_s > TIMEOUT_S / 2:
            del self.links[routing_id]
        return super()._send(routing_id, data)


class Storm:
    """One schedule. `run` raises AssertionError if something does not hold."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = StormWorld(TIMEOUT_S, HEARTBEAT_S)
        self.bits = 4
        self.clients: list[RemoteClient] = []
        self.hosts: list[RemoteCluster] = []
        self.wanted: dict[RemoteClient, dict[int, bytes]] = {}
        self.done: Counter[str] = Counter()
        self.copies: list[tuple[deque[bytes], bytes]] = []
        self.lives = [self.world.lives]
        for _ in range(2):
            self.new_client()
            self.new_host()

    def new_client(self) -> None:
        self.bits += 1
        client = RemoteClient(self.world, self.bits)
        self.lives.append(client.lives)
        self.clients.append(client)
        self.wanted[client] = {}

    def new_host(self) -> None:
        host = RemoteCluster(self.world, self.chance.choice((1, 2)))
        self.lives.append(host.lives)
        self.hosts.append(host)

    def run(self) -> None:
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        try:
            for kind in self.chance.choices(kinds, weights, k=STEPS):
                self.world.now_s += 0.002
                getattr(self, "on_" + kind.replace(" ", "_"))()
            self.done["answered in the storm"] += sum(len(client.answers) for client in self.clients)
            self.calm()
            self.check()
        finally:
            for epoch in chain.from_iterable(self.lives):
                sweep(epoch)

    # what happens

    @property
    def peers(self) -> list[RemoteClient | RemoteCluster]:
        return [*self.clients, *self.hosts]

    def any_link(self) -> StormLink:
        link = self.chance.choice(self.peers).link
        assert isinstance(link, StormLink)
        return link

    def any_worker(self) -> RemoteWorker:
        return self.chance.choice(self.chance.choice(self.hosts).workers)

    def on_submit(self) -> None:
        client = self.chance.choice(self.clients)
        size = self.chance.choice((1, 30, 30, 30, 900, 900, 3000) if self.chance.random() < 0.98 else (200_000,))
        payload = self.chance.randbytes(size)
        if self.chance.random() < 0.2:
            payload = payload if size > 30 else self.chance.randbytes(12_000)  # the result between them is an object
            pair = client.submit_pair(self.chance.choice(FUNCTIONS), payload)
            if pair is not None:
                self.wanted[client].update(zip(pair, (payload[::-1], payload), strict=True))
            return
        task = client.submit(self.chance.choice(FUNCTIONS), payload)
        if task is not None:
            self.wanted[client][task] = payload[::-1]

    def on_cancel(self) -> None:
        client = self.chance.choice(self.clients)
        open_tasks = [task for task in self.wanted[client] if task not in client.statuses]
        if open_tasks:
            task = self.chance.choice(open_tasks)
            if client.cancel(task):
                del self.wanted[client][task]

    def on_forget(self) -> None:
        client = self.chance.choice(self.clients)
        if client.functions:
            client.forget(self.chance.choice(list(client.functions)))

    def times(self) -> range:
        """How often the same is done in a row, so that more gets on than goes wrong."""
        return range(self.chance.choice((1, 2, 4, 8)))

    def on_get_on(self) -> None:
        """Most do some of what they have to do."""
        for _ in self.times():
            for what in (self.on_speak, self.on_up, self.on_down, self.on_begin, self.on_finish, self.on_read):
                what()

    def on_begin(self) -> None:
        for _ in self.times():
            self.any_worker().begin()

    def on_finish(self) -> None:
        for _ in self.times():
            self.any_worker().finish()

    def on_read(self) -> None:
        client = self.chance.choice(self.clients)
        for _ in self.times():
            client.step()

    def on_speak(self) -> None:
        for _ in self.times():
            self.any_link().speak()

    def on_up(self) -> None:
        for _ in self.times():
            self.any_link().carry_up()

    def on_down(self) -> None:
        for _ in self.times():
            self.any_link().carry_down()
        self.replace_lost()

    def on_tick(self) -> None:
        self.tick(0.02)

    def on_wait(self) -> None:
        """Nobody gets to do anything for a while."""
        self.tick(self.chance.choice((0.3, 1.0, SILENCE_S + 1, 2 * TIMEOUT_S)))

    # trouble

    def on_cut(self) -> None:
        link = self.any_link()
        if not link.is_over:
            self.done["cut"] += 1
            link.cut()

    def on_hold(self) -> None:
        self.done["hold"] += 1
        self.any_link().held_s = self.world.now_s + self.chance.choice((0.1, 1.0, 1.5 * TIMEOUT_S))

    def any_queue(self) -> "deque[bytes] | None":
        """Frames that are under way, but for a hello: what becomes of that is tried by `cut`."""
        link = self.any_link()
        queue = link.up if self.chance.random() < 0.5 else link.down
        return queue if link.is_greeted and link.welcome is not None and len(queue) else None

    def on_double(self) -> None:
        """A frame comes again, now or much later."""
        queue = self.any_queue()
        if queue:
            self.copies.append((queue, self.chance.choice(queue)))
        for copy in list(self.copies):
            if self.chance.random() < 0.3:
                self.copies.remove(copy)
                links = [peer.link for peer in self.peers if peer.link.is_greeted]
                if any(copy[0] is queue for link in links for queue in (link.up, link.down)):
                    self.done["double"] += 1
                    copy[0].append(copy[1])

    def on_lose(self) -> None:
        queue = self.any_queue()
        if queue:
            self.done["lose"] += 1
            del queue[self.chance.randrange(len(queue))]

    def on_swap(self) -> None:
        queue = self.any_queue()
        if queue and len(queue) > 1:
            self.done["swap"] += 1
            place = self.chance.randrange(len(queue) - 1)
            queue[place], queue[place + 1] = queue[place + 1], queue[place]

    def on_kill_worker(self) -> None:
        """Whatever it was at; its supervisor notices, and starts another."""
        host = self.chance.choice(self.hosts)
        place = self.chance.randrange(len(host.workers))
        self.done["kill worker"] += 1
        side = host.link.side
        side.on_left(host.workers[place].peer, -9, "")  # type: ignore[attr-defined]
        worker = host.workers[place] = RemoteWorker(host, 65536)
        side.on_joined(worker.peer, "worker", 1)  # type: ignore[attr-defined]

    def on_kill_host(self) -> None:
        """All of it; another one comes, as a host that has come back would."""
        self.done["kill host"] += 1
        self.give_up(self.hosts, self.chance.randrange(len(self.hosts)))
        self.new_host()

    def on_kill_client(self) -> None:
        self.done["kill client"] += 1
        self.give_up(self.clients, self.chance.randrange(len(self.clients)))
        self.new_client()

    def on_kill_scheduler(self) -> None:
        """Another one is started at its place, and everybody goes on with that."""
        self.done["kill scheduler"] += 1
        self.world.start()
        for peer in self.peers:
            if peer.link.is_over:
                continue
            if isinstance(peer, RemoteClient):
                peer.come_back()
            else:
                peer.go_on()

    def give_up(self, peers: list, place: int) -> None:
        """Its processes are no more."""
        self.world.links.pop(peers[place].link.routing_id, None)
        del peers[place]

    def replace_lost(self) -> None:
        """Whose session has ended for good is no more; another comes."""
        for peers, new in ((self.clients, self.new_client), (self.hosts, self.new_host)):
            for place in reversed(range(len(peers))):
                if peers[place].link.is_over:
                    self.done["lost session"] += 1
                    self.give_up(peers, place)
                    new()

    # time

    def tick(self, seconds: float) -> None:
        world = self.world
        world.now_s += seconds - 0.02
        world.core.on_tick(int(world.now_s * 1e9))
        world.tick()
        for peer in self.peers:
            assert isinstance(peer.link, StormLink)
            peer.link.look_after()

    def calm(self) -> None:
        """Nothing happens any more but what must, until nothing is left to do."""
        for peer in self.peers:
            peer.link.held_s = 0.0  # type: ignore[attr-defined]
            if self.done["lose"] and not peer.link.is_over:
                peer.link.cut()  # else a lost frame (no TCP loses one) is missed only when another one follows it
        for _ in range(CALM_TURNS):
            self.turn()
            if all(len(client.statuses) >= len(self.wanted[client]) for client in self.clients) and self.is_settled():
                break
        for client in self.clients:
            client.release_held()
            while client.functions:
                if not client.forget(next(iter(client.functions))):
                    self.turn()
        for _ in range(CALM_TURNS):
            self.turn()
            if self.is_settled() and not self.world.core.counts()["functions"] and not self.world.core.objects:
                break
        for _ in range(3):
            self.turn()

    def turn(self) -> None:
        """Everybody does all there is to do."""
        for peer in self.peers:
            link = peer.link
            link.speak()
            link.carry_all()  # type: ignore[attr-defined]
        self.replace_lost()
        for host in self.hosts:
            for worker in host.workers:
                for _ in range(8):
                    worker.step()
        for client in self.clients:
            for _ in range(20):
                client.step()
        self.tick(0.25)

    def is_settled(self) -> bool:
        """No task is anywhere, nor what another scheduler had one for, and who is gone has been given up."""
        counts, remote = self.world.core.counts(), self.world.remote
        left = (counts[what] for what in ("rows", "held_back", "kept_results", "running_on"))
        return not any(left) and len(remote._links) == len(self.peers)

    def check(self) -> None:
        for client in self.clients:
            tasks = [task for task, _ in client.answers]
            assert len(tasks) == len(set(tasks)), "a task was answered twice"
            for task, answer in client.answers:
                if task not in self.wanted[client]:
                    continue  # cancelled when it was on its way
                status = client.statuses[task]
                if status == STATUS_WORKER_DIED:
                    assert self.done["kill worker"] + self.done["kill host"] + self.done["lost session"] > 3
                else:
                    assert status == STATUS_OK, f"task {task:#x} was answered with status {status}: {answer[:80]!r}"
                    assert answer == self.wanted[client][task], f"task {task:#x} has another's result"
            missing = set(self.wanted[client]) - set(client.statuses)
            assert not missing, f"not answered: {[hex(task) for task in missing]}"
        counts = self.world.core.counts()
        assert counts["rows"] == counts["ready"] == counts["functions"] == 0, counts
        assert counts["workers"] == sum(len(host.workers) for host in self.hosts), counts
        assert len(self.world.core.objects) == 0
        assert len(self.world.store) == 0
        for peer in self.peers:
            assert [len(store) for store in peer.stores] == [0] * len(peer.stores), type(peer)
        for host in self.hosts:
            assert not any(worker.functions for worker in host.workers)
            made = host.link.side._kept_results  # type: ignore[attr-defined]
            assert not len(made)
            assert not made._left, "segments of workers that have gone"


def play(seed: int) -> Counter[str]:
    """One storm; what was done in it. AssertionError says how to play it again."""
    storm = Storm(seed)
    try:
        storm.run()
    except Exception as error:
        raise AssertionError(f"{error!r}\nplay it again with: python -m tests.sim.storm {seed}") from error
    return storm.done


if __name__ == "__main__":
    logging.disable()
    for argument in sys.argv[1:]:
        print(dict(play(int(argument))))
