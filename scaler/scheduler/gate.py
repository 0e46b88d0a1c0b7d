"""Gate: hangs up on connections to the scheduler's ZeroMQ addresses that say nothing, when there are too many of them.

ZeroMQ takes every connection there is, gives each some kilobytes, and looks after HANDSHAKE_MS whether it has shown who
it is. If the process can open no more descriptors meanwhile, ZeroMQ tries again and again without a pause, and nobody
else gets in. So a thread here hears from ZeroMQ which connections come and go, and of those that have not shown who
they are it keeps a bounded number. The oldest goes for the next one: a peer that is meant to come needs a moment only.

How far a connection has come is the kernel's to say, which counts the bytes that it has received. One that has begun
with the last message before the verdict (CURVE's INITIATE) is ZeroMQ's to judge, at once or after HANDSHAKE_MS.

Rule 1: nothing but a connection to these very addresses is touched, though its descriptor is ZeroMQ's, and its number
        may be another's by now: it is duplicated before it is looked at, onto a number that is kept for that.
Rule 2: to hang up is to shut down. It is ZeroMQ that closes.
Rule 3: what ZeroMQ has refused before it asked about a key is counted here, and logged now and then.
Not here: which key is known (keys.doorkeeper), what is kept for a connection (listening).
"""

import contextlib
import logging
import os
import resource
import socket
import struct
from collections import Counter, OrderedDict

import zmq

from scaler.address import Address
from scaler.program.sparing_log import SparingLog
from scaler.program.threads import check_threads, new_thread

_sparing = SparingLog(logging.getLogger(__name__))
MOST_UNPROVED = 4096  # of 4 kB each
UNPROVED_SHARE, SHARE = 4, 2  # of the descriptors of this process: one in so many for those, and in all
GREETING_BYTES, CURVE_HELLO_BYTES = 64, 202  # ZMTP 3: what is sent before a peer has shown who it is
_REFUSED = {
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "no keys, or those of another scheduler",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it broke off, or nobody could say whether its key is known",
}
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_MONITOR_STOPPED
for _each in _REFUSED:
    _EVENTS |= _each
_EVENT = struct.Struct("=HI")
_RECEIVED_OFFSET, _TCP_INFO_BYTES = 128, 136  # tcpi_bytes_received of struct tcp_info
_ZmqSocket = zmq.Socket[bytes]


class Gate:
    """Stands at sockets of one context; `close` it after these and before the context."""

    def __init__(self, context: "zmq.Context[_ZmqSocket]", *, has_keys: bool) -> None:
        self._context = context
        self._least_bytes = GREETING_BYTES + (CURVE_HELLO_BYTES if has_keys else 0)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_unproved, self._most = min(MOST_UNPROVED, most // UNPROVED_SHARE), most // SHARE
        self._unproved: OrderedDict[int, int] = OrderedDict()  # descriptor -> port
        self._proved: set[int] = set()
        self.hung_up = 0
        self.refused: Counter[str] = Counter()  # by ZeroMQ, before any key was looked up
        self._monitors: list[_ZmqSocket] = []
        self._ports: dict[_ZmqSocket, int] = {}
        check_threads(1)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._spare = os.dup(self._null)
        self._thread = new_thread("scaler-gate", self._serve)

    def stand_at(self, listener: _ZmqSocket, address: Address | None) -> None:
        """Look at those that come to this socket, which listens there. Before `start`."""
        if address is None or address.is_ipc:
            return
        where = f"inproc://scaler-gate-{id(self)}-{len(self._monitors)}"
        listener.monitor(where, _EVENTS)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)  # ZeroMQ's own thread would wait for this one
        monitor.connect(where)
        self._monitors.append(monitor)
        self._ports[monitor] = address.port

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Its sockets are closed: nobody comes any more. Idempotent."""
        if self._null < 0:
            return
        if self._thread.ident is not None:
            self._thread.join()
        else:
            for monitor in self._monitors:
                monitor.close(0)
        os.close(self._null)
        os.close(self._spare)
        self._null = -1

    def _serve(self) -> None:
        open_monitors = set(self._monitors)
        poller = zmq.Poller()
        for monitor in open_monitors:
            poller.register(monitor, zmq.POLLIN)
        try:
            while open_monitors:
                for monitor, _ in poller.poll():
                    if not self._hear(monitor):
                        poller.unregister(monitor)
                        open_monitors.discard(monitor)
        except zmq.ContextTerminated:
            pass
        finally:
            for monitor in self._monitors:
                monitor.close(0)

    def _hear(self, monitor: _ZmqSocket) -> bool:
        """Take what is to be heard. False if nothing more will come."""
        with contextlib.suppress(zmq.Again):
            while True:
                event, descriptor = _EVENT.unpack(monitor.recv_multipart(zmq.NOBLOCK)[0])
                if event == zmq.EVENT_ACCEPTED:
                    self._on_accepted(descriptor, self._ports[monitor])
                elif event == zmq.EVENT_MONITOR_STOPPED:
                    return False
                elif event in _REFUSED:
                    self._on_refused(_REFUSED[event])
                else:
                    self._unproved.pop(descriptor, None)
                    self._proved.discard(descriptor)
        return True

    def _on_refused(self, why: str) -> None:
        self.refused[why] += 1
        _sparing.warning(why, "a connection was refused: %s (%d so far)", why, self.refused[why])

    def _on_accepted(self, descriptor: int, port: int) -> None:
        self._proved.discard(descriptor)  # of a connection that is over: its end is told later
        self._unproved.pop(descriptor, None)
        self._unproved[descriptor] = port
        while self._unproved and (
            len(self._unproved) > self._most_unproved or len(self._unproved) + len(self._proved) > self._most
        ):
            self._judge(*self._unproved.popitem(last=False))

    def _judge(self, descriptor: int, port: int) -> None:
        """Hang up on it, if it has not shown who it is."""
        try:
            os.dup2(descriptor, self._spare, inheritable=False)
        except OSError:
            return  # it is closed already
        try:
            connection = socket.socket(fileno=self._spare)
        except OSError:
            pass  # it is something else by now
        else:
            with contextlib.suppress(OSError):
                self._judge_connection(connection, descriptor, port)
            connection.detach()
        os.dup2(self._null, self._spare, inheritable=False)

    def _judge_connection(self, connection: socket.socket, descriptor: int, port: int) -> None:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getsockname()[1] != port:
            return
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        (received,) = struct.unpack_from("=Q", information, _RECEIVED_OFFSET)
        if received > self._least_bytes:
            self._proved.add(descriptor)
            return
        self.hung_up += 1
        address = connection.getpeername()[0]
        connection.shutdown(socket.SHUT_RDWR)
        _sparing.warning(
            address,
            "a connection from %s that has not said who it is was closed, since there are too many (%d so far)",
            address,
            self.hung_up,
        )
