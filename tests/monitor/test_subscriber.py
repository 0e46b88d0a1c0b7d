"""A viewer's connection, over real sockets: what it gets, and what it says of an address where nothing is."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from scaler.monitor.codec import encode
from scaler.monitor.report import Summary
from scaler.monitor.subscriber import MonitorError, Subscriber
from tests.monitor.pretended import PretendedCluster, publish


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context()
    made = context.socket(zmq.XPUB)
    made.setsockopt(zmq.LINGER, 0)
    made.bind(f"ipc://{tmp_path}/monitor")
    yield made
    made.close(0)
    context.term()


def test_a_viewer_gets_the_topics_that_it_subscribed_to(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/monitor"
    scheduler = threading.Thread(target=publish, args=(PretendedCluster(), address, 0.05, 40))
    scheduler.start()
    with Subscriber(address, ["summary", "hosts"]) as viewer:
        first = viewer.read_first(5)
        seen = {first.topic} | {report.topic for report in iter(lambda: viewer.read(0.3), None)}
    scheduler.join()
    assert seen == {"summary", "hosts"}


def test_another_topic_is_subscribed_to_and_one_is_left(tmp_path: Path, socket: "zmq.Socket[bytes]") -> None:
    with Subscriber(f"ipc://{tmp_path}/monitor", ["summary"]) as viewer:
        assert socket.recv() == b"\1summary"
        viewer.subscribe(["task/00000000000000ff"])
        assert {socket.recv(), socket.recv()} == {b"\0summary", b"\1task/00000000000000ff"}


def test_what_cannot_be_read_is_counted_and_said(tmp_path: Path, socket: "zmq.Socket[bytes]") -> None:
    with Subscriber(f"ipc://{tmp_path}/monitor", ["summary"]) as viewer:
        socket.recv()
        for parts in ([b"summary", b"rubbish"], [b"summary"], [b"summary", b"", b""]):
            socket.send_multipart(parts)
        with pytest.raises(MonitorError, match="publishes cannot be read: this is not a report"):
            viewer.read_first(0.5)
        assert viewer.problems == 3
        cluster = PretendedCluster()
        socket.send_multipart([b"summary", encode(next(cluster.reports()))])
        report = viewer.read(5)
        assert report is not None
        assert isinstance(report.body, Summary)


def test_an_address_where_nothing_is_says_so(tmp_path: Path, free_port: int) -> None:
    with Subscriber(f"tcp://127.0.0.1:{free_port}") as viewer, pytest.raises(MonitorError, match="nothing listens at"):
        viewer.read_first(0.1)
    with Subscriber(f"ipc://{tmp_path}/none") as viewer, pytest.raises(MonitorError, match="there is no ipc://"):
        viewer.read_first(0.1)


def test_a_program_of_another_kind_says_so() -> None:
    import socket as sockets

    with sockets.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with (
            Subscriber(address) as viewer,
            pytest.raises(MonitorError, match=r"something listens at .* but publishes no"),
        ):
            viewer.read_first(0.2)


@pytest.fixture
def free_port() -> int:
    import socket as sockets

    with sockets.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
