"""What somebody can read who sees all that goes over the network: the loopback device is listened to while a job runs.

The same job without keys shows that what is looked for would be found.
"""

import ctypes
import os
import pickle
import socket
import struct
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from scaler import Client
from scaler.keys.folder import make_folder
from scaler.objects.dialer import ObjectDialer
from tests.e2e import calls
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until

EVERY_PROTOCOL = 0x0003
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
BUFFER_BYTES = 256 << 20


class Tap:
    """What goes over the loopback device from and to some ports: what other programs say there stays in the kernel."""

    def __init__(self, ports: set[int]) -> None:
        self.seen = bytearray()
        self._is_over = False
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        # A packet filter: load the length of the IP header and the port that it comes from, compare with each, ...
        count = len(ports)
        steps = [(0xB1, 0, 0, 14), (0x48, 0, 0, 14)]
        steps += [(0x15, 2 * count + 1 - number, 0, port) for number, port in enumerate(ports)]
        steps += [(0x48, 0, 0, 16)]  # ... then the port that it goes to
        steps += [(0x15, count - number, 0, port) for number, port in enumerate(ports)]
        steps += [(0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        where = struct.pack("HP", len(steps), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, where)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                self.seen.extend(self._socket.recv(1 << 17))
            except TimeoutError:
                if self._is_over:
                    return

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()


def ports_of(process: int) -> set[int]:
    found = psutil.Process(process).net_connections("tcp")
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Of the transfers of this process's client."""
    known: list[bytes] = []
    giver = ObjectDialer.giver

    def note_giver(dialer: ObjectDialer, token: bytes) -> Any:
        known.append(token)
        return giver(dialer, token)

    monkeypatch.setattr(ObjectDialer, "giver", note_giver)
    return known


@pytest.mark.parametrize("has_keys", [True, False])
def test_no_payload_pickle_or_token_of_a_job_is_on_the_network(
    has_keys: bool, tokens: list[bytes], tmp_path: Path
) -> None:
    keys = str(make_folder(tmp_path / "keys")) if has_keys else None
    options: dict[str, Any] = {"keys": keys} if keys else {"insecure": True}
    marks = [os.urandom(16) for _ in range(3)]  # of an argument, a result that comes by the session, and a large one
    large, small = marks[0] * 100_000, marks[1] * 10
    with RemoteCluster(1, workers={"keys": keys}, **options) as cluster:
        cluster.add_workers(1)  # so that one host fetches from another, too
        children = [one.child for one in cluster._clusters]
        wait_until(lambda: all(child is not None and ports_of(child.pid) for child in children))
        hosts = [cluster.scheduler.pid, *(child.pid for child in children if child is not None)]
        tap = Tap(set().union(*map(ports_of, hosts)))
        with closing(tap), Client(cluster.get_address(), keys=keys) as client:
            assert client.submit(len, large).result(30) == len(large)
            assert client.submit(calls.echo, small).result(30) == small
            reference = client.send_object(marks[2] * 100_000)
            futures = [client.submit(calls.echo, reference) for _ in range(6)]
            for future in futures:
                assert future.result(60) == marks[2] * 100_000
    seen = tap.seen
    assert len(tokens) > 6
    assert len(seen) > 6 * 1_600_000
    looked_for = [*marks, *tokens, pickle.dumps(calls.echo)[4:20], b"SCOB\1\0"]
    found = [one for one in looked_for if one in seen]
    assert found == ([] if has_keys else looked_for)
    assert (b"SCOS\1\0" in seen) == has_keys
