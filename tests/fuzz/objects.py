"""Both ends of the connections for objects: a port at which strangers say anything, a dialer that is answered anything.

Sockets and threads are real, so which of them is first is not the seed's to say; what is said is.

Held: an honest transfer each way succeeds in the end, and its bytes are right; nobody without a token gets a byte of
what is served, or brings one; an object that was never whole is not said to be; nothing is written beside it; and each
fetch ends, once.
"""

import os
import random
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from scaler._native import Segment
from scaler.address import Endpoint
from scaler.objects import visit
from scaler.objects.arrival import Arrival
from scaler.objects.dialer import Giver, ObjectDialer
from scaler.objects.port import ObjectPort
from tests.processes import wait_until

EVENTS = 40  # of an episode
HOST = "127.0.0.1"
SECRET = b"the bytes of an object " * 200
NUMBERS = (0, 1, 2, 3, 100, len(SECRET) - 1, len(SECRET), len(SECRET) + 1, 2**31, 2**63, 2**64 - 1)


class Liar:
    """Listens as a port does, and answers what is drawn."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        self.answers: list[bytes] = []
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(1)
                    connection.recv(32)
                    connection.sendall(self.answers.pop() if self.answers else b"")
                except OSError:
                    pass

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


@dataclass
class Awaited:
    """What may be brought, and its room, of which it does not take all."""

    arrival: Arrival
    memory: memoryview


class ObjectsFuzz:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.port = ObjectPort(HOST)
        self.liar = Liar(self.chance)
        self.token = self.port.serve(7, memoryview(SECRET))
        visit.PATIENCE_S = 0.02  # with who brings what nobody expects
        self.awaited: dict[bytes, Awaited] = {}
        self.dialer = ObjectDialer(Endpoint(HOST, self.port.port), lambda what: what())

    def start(self) -> bytes:
        chance = self.chance
        magic = b"SCOB" if chance.random() < 0.9 else chance.randbytes(4)
        return magic + struct.pack("<H", 1 if chance.random() < 0.9 else chance.getrandbits(16))

    def ask(self) -> None:
        """A stranger at the port."""
        chance = self.chance
        token = secrets.token_bytes(16) if chance.random() < 0.9 else self.token[:15] + bytes([self.token[15] ^ 1])
        said = self.start() + struct.pack("<HQ", chance.choice((0, 1, 1, 2, 3, 65535)), chance.choice(NUMBERS)) + token
        said = said[: chance.choice((32, 32, 32, 31, 5, 0))] + chance.randbytes(chance.choice((0, 0, 1, 100)))
        with socket.create_connection((HOST, self.port.port)) as connection:
            connection.settimeout(10)
            heard = b""
            try:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65536):
                    heard += data
            except OSError:
                pass
        assert SECRET[:10] not in heard, "a stranger was given an object"
        assert len(heard) <= 24 * 4

    def ask_rightly(self) -> None:
        """Who has the token may ask for any part, and hang up."""
        offset = self.chance.choice(NUMBERS)
        with socket.create_connection((HOST, self.port.port)) as connection:
            connection.settimeout(10)
            try:
                connection.sendall(struct.pack("<4sHHQ16s", b"SCOB", 1, 1, offset, self.token))
                if self.chance.random() < 0.5:
                    connection.recv(self.chance.choice((1, 24, 1000)))
            except OSError:
                pass

    def bring(self) -> None:
        """Who has the token of what is expected may write it: as much as it likes, from where it is told to."""
        chance = self.chance
        if len(self.awaited) < 3:
            self.await_one(chance.choice((1, 100, 5000)))
        token, awaited = chance.choice(list(self.awaited.items()))
        arrival, before = awaited.arrival, awaited.arrival.have
        data = chance.randbytes(chance.choice((0, 1, arrival.total - before, arrival.total // 2, arrival.total + 100)))
        with socket.create_connection((HOST, self.port.port)) as connection:
            connection.settimeout(10)
            try:
                connection.sendall(struct.pack("<4sHHQ16s", b"SCOB", 1, 2, chance.choice(NUMBERS), token))
                if chance.random() < 0.8:  # else it does not even listen to where it is to begin
                    _, _, verdict, offset, total = struct.unpack("<4sHHQQ", connection.recv(24, socket.MSG_WAITALL))
                    assert (verdict, offset, total) == (1, arrival.have, arrival.total)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except (OSError, struct.error):
                pass
        wait_until(lambda: arrival._connection is None)
        assert before <= arrival.have <= min(arrival.total, before + len(data))
        assert bytes(awaited.memory[arrival.total :]) == bytes(8192 - arrival.total), "more was written than there is"
        if arrival.is_whole:
            self.port.forget(token)
            del self.awaited[token]

    def await_one(self, size: int) -> bytes:
        memory, token = memoryview(Segment.private(8192)), secrets.token_bytes(16)
        arrival = Arrival(1, size, memory[:size])
        self.awaited[token] = Awaited(arrival, memory)
        self.port.expect(token, arrival)
        return token

    def dial(self) -> None:
        """The dialer fetches from somebody who lies."""
        chance = self.chance
        size = chance.choice((0, 1, 100, 5000))
        memory = Segment.private(8192)
        arrival = Arrival(1, size, memoryview(memory)[:size])
        total, offset = (size if chance.random() < 0.7 else chance.choice(NUMBERS)), chance.choice((0, 0, *NUMBERS))
        lie = self.start() + struct.pack("<HQQ", chance.choice((1, 1, 1, 2, 9)), offset, total)
        is_long = chance.random() < 0.5
        lie = lie[: chance.choice((24, 24, 24, 23, 0))] + bytes(
            size if is_long else chance.choice((0, size // 2, 6000))
        )
        self.liar.answers = [lie] * 4
        done, said = threading.Event(), []

        def on_done(is_there: bool) -> None:
            said.append(is_there)
            done.set()

        where = Endpoint(HOST, self.liar.port)
        if chance.random() < 0.1:
            where = chance.choice(
                (Endpoint("a" * 70, 1), Endpoint("", 1), Endpoint("::1", 1), Endpoint("a" * 300 + ".b", 70000))
            )
        self.dialer.fetch(arrival, [Giver(where, secrets.token_bytes(16))], on_done)
        assert done.wait(60), "a fetch has not ended"
        assert said == [arrival.is_whole]
        assert bytes(memoryview(memory)[size:]) == bytes(8192 - size), "more was written than the object has"

    def take_down(self) -> None:
        """Fetch it from the port, rightly."""
        memory = bytearray(len(SECRET))
        arrival, done = Arrival(1, len(SECRET), memoryview(memory)), threading.Event()
        self.dialer.fetch(arrival, [self.dialer.giver(self.token)], lambda is_there: done.set())
        assert done.wait(60)
        assert arrival.is_whole
        assert memory == SECRET
        token = self.await_one(len(SECRET))  # and bring one, rightly
        done.clear()
        self.dialer.bring(memoryview(SECRET), token, lambda is_there: done.set())
        assert done.wait(60)
        assert self.awaited[token].arrival.is_whole
        assert self.awaited[token].memory[: len(SECRET)] == SECRET
        self.dialer.close()
        self.liar.close()
        self.port.close()


def episode(seed: int, events: int, on_event: Callable[[int], None]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fuzz = ObjectsFuzz(seed)
    for number in range(events):
        on_event(number)
        fuzz.chance.choice((fuzz.ask, fuzz.ask, fuzz.ask_rightly, fuzz.bring, fuzz.bring, fuzz.dial))()
    on_event(events)
    fuzz.take_down()
    left = len(os.listdir("/proc/self/fd")) - before
    assert left <= 0, f"{left} descriptors are left"
