"""What somebody is told who connects to where no scheduler answers, or starts a second one where the first one is."""

import contextlib
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq

from scaler import Client, Scheduler
from scaler.exceptions import AddressError, RefusedError, ScalerError, SchedulerTimeoutError
from tests.e2e import calls
from tests.elsewhere import start_elsewhere
from tests.entry_points.commands import Command, SchedulerCommand, run

LONG_S = 40.0  # what is known at once is said long before that
OF_ANOTHER_VERSION = """
import sys
from scaler.protocol import codec, frames
codec.PROTOCOL_VERSION = frames.PROTOCOL_VERSION = 99
from scaler.config.table import SchedulerConfig
from scaler.config.values import make_config
from scaler.scheduler.program import run
run(make_config(SchedulerConfig, {"address": "tcp://127.0.0.1:0"}), 0, lambda address: print(address, flush=True))
"""


class Web(http.server.BaseHTTPRequestHandler):
    status = 404

    def do_HEAD(self):
        self.send_error(self.status)

    def log_message(self, *_):
        pass


class Gateway(Web):
    status = 503


@contextlib.contextmanager
def web_server(kind):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def server_that_greets(words):
    """Says this to all who connect."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                while True:
                    stack.enter_context(server.accept()[0]).sendall(words)

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def silent_server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def other_zeromq():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        yield f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"


@contextlib.contextmanager
def scheduler_of_another_version():
    program = subprocess.Popen(
        [sys.executable, "-c", OF_ANOTHER_VERSION], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    try:
        yield program.stdout.readline().strip()
    finally:
        program.communicate(timeout=20)


KNOWN_AT_ONCE = [
    (lambda: web_server(Web), "a web server listens there and no scheduler"),
    (lambda: server_that_greets(b"SSH-2.0-Server\r\n"), "an SSH server listens there and no scheduler"),
    (lambda: server_that_greets(b"\xff\xfb\x01what is your name?"), "another program listens there and no scheduler"),
    (scheduler_of_another_version, "is of another version: .*version 99 .*install the same version of scaler on both"),
]
IDS = ["web", "ssh", "telnet", "another version"]


@pytest.mark.parametrize(("make", "sentence"), KNOWN_AT_ONCE, ids=IDS)
def test_a_client_is_told_at_once_what_else_listens_there(make, sentence):
    with make() as address:
        began_s = time.monotonic()
        with pytest.raises(RefusedError, match=sentence) as raised:
            Client(address, timeout_seconds=LONG_S)
        assert address in str(raised.value)
        assert time.monotonic() < began_s + LONG_S / 2


@pytest.mark.parametrize(("make", "sentence"), KNOWN_AT_ONCE, ids=IDS)
def test_a_cluster_is_told_at_once_what_else_listens_there(make, sentence):
    with make() as address:
        ended = run("scaler_cluster", address, "-n", "1", "-ds", "100")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert re.search(sentence, ended.stderr)


def test_a_client_is_told_at_once_that_no_host_has_the_name():
    began_s = time.monotonic()
    with pytest.raises(AddressError, match=r"no host is known by the name 'nowhere\.invalid'.*correct the address"):
        Client("tcp://nowhere.invalid:2345", timeout_seconds=LONG_S)
    assert time.monotonic() < began_s + LONG_S / 2


def test_a_cluster_waits_for_a_name_as_for_a_scheduler_and_says_so():
    with Command("scaler_cluster", "tcp://nowhere.invalid:2345", "-n", "1", "-ds", "100") as cluster:
        cluster.await_line("waiting for the scheduler at .*no host is known by the name 'nowhere.invalid'")
        assert cluster.stop() == 0
    ended = run("scaler_cluster", "tcp://nowhere.invalid:2345", "-n", "1", "-ds", "1")
    assert ended.returncode == 1
    assert "no scheduler answered" in ended.stderr
    assert "no host is known by the name" in ended.stderr


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: contextlib.nullcontext("tcp://127.0.0.1:9"), r"nothing listens there \(connection refused\)"),
        (lambda: contextlib.nullcontext("ipc:///nonexistent/s"), "there is no socket at that path"),
        (lambda: contextlib.nullcontext("ipc://@scaler-test-nobody"), "nothing listens there"),
        (silent_server, "accepts connections there and says nothing"),
        (other_zeromq, "speaks ZeroMQ but does not answer"),
        (lambda: web_server(Gateway), "a gateway listens there, which reaches no scheduler: it says .* 503"),
    ],
    ids=["closed port", "no path", "no abstract path", "silent", "zeromq", "gateway"],
)
def test_what_may_change_is_waited_for_and_told_at_the_end(make, sentence):
    with make() as address, pytest.raises(SchedulerTimeoutError, match=rf"no scheduler answered at .*: .*{sentence}"):
        Client(address, timeout_seconds=1.5)


def test_a_client_that_waited_at_a_closed_port_goes_on_when_the_scheduler_comes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    made = []
    thread = threading.Thread(target=lambda: made.append(Client(address, timeout_seconds=20)))
    thread.start()
    time.sleep(0.3)
    with Scheduler(address):
        thread.join()
        made[0].disconnect()


# ipc paths and ports that are somebody's


@pytest.fixture(params=["rings", "wire"])
def first(request, tmp_path):
    """A scheduler at an ipc path, and its process."""
    path = tmp_path / "s"
    if request.param == "rings":
        with SchedulerCommand(address=f"ipc://{path}") as scheduler:
            yield path, scheduler.process
    else:
        process, _ = start_elsewhere(address=f"ipc://{path}")
        yield path, process
        process.communicate(timeout=20)


def test_a_path_is_refused_as_long_as_its_scheduler_lives_though_its_socket_was_removed(first):
    path, process = first
    for is_removed in (False, True):
        if is_removed:
            os.unlink(path)
        with pytest.raises(ScalerError, match="in use") as raised:
            Scheduler(f"ipc://{path}")
        assert ("its socket has been removed" in str(raised.value)) is is_removed
        ended = run("scaler_scheduler", f"ipc://{path}")
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert ("its socket has been removed" in ended.stderr) is is_removed
    process.kill()
    process.wait()
    with Scheduler(f"ipc://{path}") as second, Client(second.get_address(), timeout_seconds=20):
        pass
    assert list(path.parent.iterdir()) == []


def test_clients_of_a_scheduler_whose_socket_was_removed_go_on(tmp_path):
    path = tmp_path / "s"
    address = f"ipc://{path}"
    with SchedulerCommand(address=address) as scheduler, Command("scaler_cluster", address, "-n", "1") as cluster:
        cluster.await_line(r"cluster is ready")
        with Client(address, timeout_seconds=20) as client:
            os.unlink(path)
            assert client.submit(calls.add_one, 1).result(20) == 2
        with pytest.raises(SchedulerTimeoutError, match="there is no socket at that path"):
            Client(address, timeout_seconds=1)
        assert [cluster.stop(), scheduler.stop()] == [0, 0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "localhost"])
def test_a_port_is_refused_as_long_as_its_scheduler_lives(host):
    with Scheduler() as scheduler:
        port = scheduler.get_address().rpartition(":")[2]
        with pytest.raises(ScalerError, match="in use, another program listens there"):
            Scheduler(f"tcp://{host}:{port}", insecure=True)
        with Client(scheduler.get_address(), timeout_seconds=20):
            pass
