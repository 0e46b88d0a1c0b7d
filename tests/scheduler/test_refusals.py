"""Who has no right key at a scheduler's address: refused, counted, logged sparingly, and nothing of that is decoded."""

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from scaler.address import Address
from scaler.exceptions import RefusedError, SchedulerTimeoutError
from scaler.keys import doorkeeper
from scaler.keys.folder import PeerKeys, make_folder, peer_keys, scheduler_keys
from scaler.program.sparing_log import SparingLog
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Frame, Hello, Refusal, Role
from scaler.scheduler import gate
from scaler.scheduler.scheduler import SchedulerServer
from scaler.scheduler.selector import PumpSelector
from scaler.session import remote_peers
from scaler.session.dealer import Dealer, greet, new_hello
from tests.processes import wait_until

TIMES = 20  # that each comes
NO_KEYS = "no keys, or those of another scheduler"
UNSURE = "it broke off, or nobody could say whether its key is known"
EXPECTED = {
    "no key": (NO_KEYS, UNSURE),  # whichever of the two hangs up first
    "unknown key": ("unknown key",),
    "a client's as a worker's": ("the key of a client as a worker's",),
    "a worker's as a client's": ("the key of a worker as a client's",),
    "a monitor's": ("the key of a monitor",),
    "wrong server key": (NO_KEYS, UNSURE),
    "dead ZAP handler": (UNSURE,),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("made") / "keys")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the scheduler has decoded, of those that are no peers of its yet or are."""
    seen: list[object] = []

    def note(data: bytes, *limit: int) -> Frame:
        frame = decode(data, *limit)
        seen.append(frame.body)
        return frame

    monkeypatch.setattr(remote_peers, "decode", note)
    return seen


@pytest.fixture
def server(folder: Path, decoded: list[object], monkeypatch: pytest.MonkeyPatch) -> Iterator[SchedulerServer]:
    """A scheduler with keys, whose loop runs in a thread, and which has logged nothing of the same kind just now."""
    for module in (doorkeeper, gate, remote_peers):
        monkeypatch.setattr(module, "_sparing", SparingLog(logging.getLogger("scaler.tests")))
    made = SchedulerServer(keys=scheduler_keys(folder))
    selector = PumpSelector(made.pump, made.after_run)
    loop = asyncio.SelectorEventLoop(selector)
    made.address = made.open(loop, Address.parse("tcp://127.0.0.1:0"), selector.watch)  # type: ignore[attr-defined]

    def run() -> None:
        loop.run_until_complete(made.closed)
        made.close()
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield made
    loop.call_soon_threadsafe(made.stop)
    thread.join()


def address_of(server: SchedulerServer) -> Address:
    return server.address  # type: ignore[attr-defined]


def keys_for(what: str, folder: Path, other: Path) -> PeerKeys | None:
    mine = peer_keys(folder, "client")
    if what == "no key":
        return None
    if what == "unknown key":
        return PeerKeys("client", peer_keys(other, "client").own, mine.scheduler)
    if what == "wrong server key":
        return PeerKeys("client", mine.own, peer_keys(other, "client").scheduler)
    if what.startswith("a "):
        return peer_keys(folder, what[2:].partition("'")[0])
    return mine


def refusal_of(server: SchedulerServer, keys: PeerKeys | None, hello: Hello) -> Refusal | None:
    """What somebody hears who says hello with these keys; None if the connection is just over."""
    dealer = Dealer(str(address_of(server)), keys)
    try:
        dealer.send(encode(Frame(hello)))
        end_s = time.monotonic() + 20
        while not dealer.is_broken:
            assert time.monotonic() < end_s, "it is neither answered nor hung up on"
            dealer.wait(0.05)
            data = dealer.receive()
            if data is not None:
                body = decode(data).body
                assert isinstance(body, Refusal)
                return body
        return None
    finally:
        dealer.close()


@pytest.mark.parametrize("what", EXPECTED)
def test_who_has_no_right_key_is_refused_counted_and_not_read(
    what: str,
    server: SchedulerServer,
    folder: Path,
    decoded: list[object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys, times = keys_for(what, folder, make_folder(tmp_path / "other")), TIMES
    if what == "dead ZAP handler":
        assert server._doorkeeper is not None
        server._doorkeeper.close()
        times = 3  # each waits until ZeroMQ has waited for it
    role, bits = (Role.CLUSTER, 0) if what.endswith("as a worker's") else (Role.CLIENT, 77)
    is_read = " as " in what  # whose hello says the other role: that much is read of it
    for _ in range(times):
        refusal = refusal_of(server, keys, new_hello(role, os.urandom(16), client_bits=bits))
        assert (refusal is not None) == is_read

    def count(of: dict[str, int], before: str = "") -> int:
        return sum(of.get(before + why, 0) for why in EXPECTED[what])

    wait_until(lambda: count(server._refused()) >= times)
    assert all(isinstance(body, Hello) for body in decoded)
    assert len(decoded) == (times if is_read else 0)
    assert server._remote._by_token == {}
    assert 1 <= sum("was refused" in record.message for record in caplog.records) <= 2
    assert count(server._monitoring._messages(), "connections refused: ") >= times


def test_what_somebody_has_recorded_gets_no_session_when_it_is_said_again(
    server: SchedulerServer, folder: Path, decoded: list[object]
) -> None:
    said: list[bytes] = []
    real = address_of(server)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = threading.Thread(target=_pass_on, args=(listener, (real.host, real.port), said))
        here.start()
        where = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        dealer, welcome = greet(where, lambda: new_hello(Role.CLIENT, b"one", client_bits=77), 20, keys=str(folder))
        assert welcome.session
        dealer.leave()
        here.join()
    wait_until(lambda: server._remote._by_token == {})
    decoded.clear()
    for _ in range(3):
        with socket.create_connection((real.host, real.port)) as plain, contextlib.suppress(OSError):
            plain.settimeout(20)
            plain.sendall(b"".join(said))
            while plain.recv(65536):  # until it is hung up on
                pass
    wait_until(lambda: server._refused().get(NO_KEYS, 0) + server._refused().get(UNSURE, 0) >= 3)
    assert decoded == []
    assert server._remote._by_token == {}


def _pass_on(listener: socket.socket, target: tuple[str, int], said: list[bytes]) -> None:
    """Pass one connection on, and keep what its opener says."""
    here, _ = listener.accept()
    there = socket.create_connection(target)

    def back() -> None:
        with contextlib.suppress(OSError):
            while data := there.recv(65536):
                here.sendall(data)

    thread = threading.Thread(target=back)
    thread.start()
    with contextlib.suppress(OSError):
        while data := here.recv(65536):
            said.append(data)
            there.sendall(data)
    there.shutdown(socket.SHUT_RDWR)
    thread.join()
    here.close()
    there.close()


def test_without_the_right_key_greet_says_why(server: SchedulerServer, folder: Path, tmp_path: Path) -> None:
    other = str(make_folder(tmp_path / "other"))
    with pytest.raises((RefusedError, SchedulerTimeoutError), match="not the scheduler of these keys"):
        greet(str(address_of(server)), lambda: new_hello(Role.CLIENT, b"one", client_bits=77), 5, keys=other)


def test_every_socket_has_a_limit_for_messages_and_for_the_handshake(server: SchedulerServer, folder: Path) -> None:
    dealer = Dealer(str(address_of(server)), peer_keys(folder, "client"))
    for each in (dealer._socket, server._router, server._monitoring._publisher._socket):
        assert 0 < int(each.getsockopt(zmq.MAXMSGSIZE)) < 8 << 20
        assert int(each.getsockopt(zmq.HANDSHAKE_IVL)) == 5000
    dealer.close()
