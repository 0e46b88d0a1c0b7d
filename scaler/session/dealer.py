"""Dealer: a peer's socket to a scheduler, and the greeting with which each socket begins.

One socket is one session's connection: ZeroMQ's own reconnecting is off, because it would send what was queued before
any hello. A socket that breaks is thrown away and a fresh one says hello again.

Not here: what is said after the welcome (session.conversation, session.session_at_relay).
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import zmq
import zmq.utils.monitor

from scaler.address import Address
from scaler.exceptions import AddressError, RefusedError, SchedulerTimeoutError
from scaler.keys.doorkeeper import show, why_doubtful, why_refused
from scaler.keys.find import find_keys
from scaler.keys.folder import PeerKeys
from scaler.program.descriptors import check_descriptors
from scaler.protocol.bounds import MOST_MESSAGE_BYTES
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import (
    PROTOCOL_MINOR,
    Frame,
    FrameError,
    Goodbye,
    Hello,
    Refusal,
    Role,
    VersionError,
    Welcome,
)
from scaler.session.contexts import held_context, release_context, take_context
from scaler.session.diagnosis import NO_ANSWER, look

_log = logging.getLogger(__name__)
# As plain numbers: an operation on pyzmq's flags costs as much as one on its sockets.
NOBLOCK, EVENTS, POLLIN = int(zmq.NOBLOCK), int(zmq.EVENTS), int(zmq.POLLIN)
# Both sides say something every few seconds, so nothing that forgets idle connections takes this one for idle; this is
# for what was left by a host that has vanished.
KEEP_ALIVE = (
    (zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 30), (zmq.TCP_KEEPALIVE_INTVL, 10), (zmq.TCP_KEEPALIVE_CNT, 3),
)  # fmt: skip
FIRST_PAUSE_S, MOST_PAUSE_S = 0.01, 0.25
SOCKET_DESCRIPTORS = 8  # of a socket and its monitor: libzmq aborts without them
HANDSHAKE_MS = 5_000  # for ZeroMQ's own, as long as for an answer to a hello
ANSWER_S = 5.0
PATIENCE_S = 0.5  # before it is looked why nobody answers
LOOK_AGAIN_S = 2.0
MOST_REFUSALS = 5  # of ZeroMQ's handshake: a scheduler that is just being started again may have had other keys
_MET = zmq.EVENT_HANDSHAKE_SUCCEEDED  # whatever listens there speaks ZeroMQ
_BROKEN = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_MONITOR_STOPPED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Dealer:
    """One connection. `is_broken` says that it is over."""

    def __init__(self, address: str, keys: PeerKeys | None = None) -> None:
        self.is_broken = False
        self.is_sealed = keys is not None  # nobody else can read what is said
        self.has_met = False
        self.why_refused: str | None = None  # by ZeroMQ's own handshake, before anything was said
        self.why_doubtful: str | None = None  # the same, if what listens there does speak ZeroMQ
        self.has_message = False  # when `wait` last looked
        self._keys = keys
        self._poller = zmq.Poller()
        check_descriptors(SOCKET_DESCRIPTORS)
        with ExitStack() as undo:
            self._context = take_context()
            undo.callback(release_context, self._context)
            self._socket = self._context.socket(zmq.DEALER)
            undo.callback(self._socket.close, 0)
            for option, value in (
                (zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0), (zmq.RECONNECT_IVL, -1), (zmq.IPV6, 1), *KEEP_ALIVE,
                (zmq.MAXMSGSIZE, MOST_MESSAGE_BYTES), (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            ):  # fmt: skip
                self._socket.setsockopt(option, value)
            if keys is not None:
                show(self._socket, keys)
            self._monitor = self._socket.get_monitor_socket(_BROKEN | _MET)
            undo.callback(self._monitor.close, 0)
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._monitor, zmq.POLLIN)
            try:
                self._socket.connect(address)
            except zmq.ZMQError as error:
                raise ValueError(f"{address} is no address to connect to: {error.strerror}") from error
            undo.pop_all()

    def send(self, data: bytes) -> None:
        try:
            self._socket.send(data, NOBLOCK)
        except zmq.ZMQError:
            self.is_broken = True

    def receive(self) -> bytes | None:
        """The next message, None if there is none now."""
        if not int(self._socket.getsockopt(EVENTS)) & POLLIN:
            return None
        parts = self._socket.recv_multipart(NOBLOCK)
        return parts[0] if len(parts) == 1 else b""

    def wait_for_too(self, eventfd: int) -> None:
        """Have `wait` end when this eventfd rings."""
        self._poller.register(eventfd, zmq.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Until there is a message, the connection breaks or the eventfd rings. True if the eventfd did."""
        rung = self.has_message = False
        for ready, _ in self._poller.poll(max(0, int(timeout_s * 1000))):
            if ready is self._monitor:
                event = int(zmq.utils.monitor.recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"])
                if event == _MET:
                    self.has_met = True
                else:
                    self.is_broken = True
                    self.why_refused = self.why_refused or why_refused(event, self._keys)
                    self.why_doubtful = self.why_doubtful or why_doubtful(event, self._keys)
            elif ready is self._socket:
                self.has_message = True
            else:
                rung = True
        return rung

    def close(self, linger_ms: int = 0) -> None:
        """Idempotent. Waits up to `linger_ms` for what was sent."""
        if self._socket.closed:
            return
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)
        release_context(self._context)

    def leave(self) -> None:
        """Say goodbye as a peer that has said nothing but hello."""
        self.send(encode(Frame(Goodbye(), 1)))
        self.close(1000)


def new_hello(
    role: Role,
    identity: bytes,
    *,
    client_bits: int = 0,
    worker_names: tuple[str, ...] = (),
    voucher: bytes = b"",
    is_elastic: bool = False,
    cluster_name: str = "",
) -> Hello:
    """A hello of this process. With a `voucher` it is one of the client of a worker's tasks."""
    return Hello(
        int(role), sys.version_info.major, sys.version_info.minor, identity, client_bits,
        pid=os.getpid(), uid=os.geteuid(), host_name=socket.gethostname(), worker_names=worker_names,
        is_nested=bool(voucher), voucher=voucher, is_elastic=is_elastic,
        cluster_name=cluster_name, minor=PROTOCOL_MINOR,
    )  # fmt: skip


class Doubts:
    """What keeps the scheduler from answering, as far as that can be seen from here (session.diagnosis)."""

    def __init__(self, address: str, *, is_name_known: bool) -> None:
        self._address, self._is_name_known = address, is_name_known
        self._parsed = Address.parse(address)
        self._next_s = 0.0
        self._is_announced = False
        self.text = ""

    def look(self, has_met: bool, end: float) -> None:
        """See what it is, if that is not known yet. AddressError or RefusedError if waiting does not help."""
        now_s = time.monotonic()
        if has_met:
            self.text = NO_ANSWER
        if has_met or now_s < self._next_s or now_s > end:
            return
        trouble = look(self._parsed, end - now_s)
        self.text = trouble.text
        self._next_s = time.monotonic() + LOOK_AGAIN_S
        if trouble.is_about_name and trouble.is_final and not self._is_name_known:
            raise AddressError(f"no scheduler can be reached at {self._address}: {trouble.text}: correct the address")
        if trouble.is_final and not trouble.is_about_name:
            raise RefusedError(f"no scheduler can be reached at {self._address}: {trouble.text}")
        if not self._is_announced:
            self._is_announced = True
            level = logging.WARNING if trouble.is_about_name else logging.INFO
            _log.log(level, "waiting for the scheduler at %s: %s", self._address, trouble.text)

    def on_nonsense(self, error: FrameError) -> RefusedError:
        """What to raise when something has answered that is no frame."""
        if isinstance(error, VersionError):
            return RefusedError(f"the scheduler at {self._address} is of another version: {error}")
        trouble = look(self._parsed, LOOK_AGAIN_S)
        what = trouble.text if trouble.is_final else f"what listens there is no scheduler of this version: {error}"
        return RefusedError(f"no scheduler can be reached at {self._address}: {what}")


def greet(
    address: str,
    make_hello: Callable[[], Hello],
    timeout_s: float,
    is_stopped: Callable[[], bool] = lambda: False,
    *,
    is_name_known: bool = True,
    keys: str | None = None,
) -> tuple[Dealer, Welcome]:
    """Say hello at `address` until somebody answers, on a fresh socket each time, with the keys of the folder `keys`.

    Without a folder they are looked for (keys.find), at each attempt: another scheduler may have others.

    SchedulerTimeoutError after `timeout_s`, RefusedError with the scheduler's sentence if it does not want this peer,
    or if something else listens there, ValueError if the address is none. AddressError if no host has that name, unless
    it `is_name_known`: then the name is waited for as a scheduler is, since names of hosts come and go with them.
    """
    with held_context():
        return _greet(address, make_hello, timeout_s, is_stopped, is_name_known, keys)


def _greet(
    address: str,
    make_hello: Callable[[], Hello],
    timeout_s: float,
    is_stopped: Callable[[], bool],
    is_name_known: bool,
    keys: str | None,
) -> tuple[Dealer, Welcome]:
    deadline = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    doubts = Doubts(address, is_name_known=is_name_known)
    refusals = 0
    while True:
        hello, why = make_hello(), None
        dealer = Dealer(address, find_keys(Address.parse(address), hello.key_role, keys))
        try:
            answer = _ask(dealer, hello, deadline, is_stopped, doubts)
            if answer is None and not is_stopped():
                if dealer.why_refused is None:
                    doubts.look(dealer.has_met, deadline)
                why = dealer.why_refused or (dealer.why_doubtful if doubts.text == NO_ANSWER else None)
                refusals += why is not None
                if refusals == MOST_REFUSALS:
                    raise RefusedError(f"no connection to the scheduler at {address}: {why}")
        except BaseException:
            dealer.close()
            raise
        if isinstance(answer, Welcome):
            return dealer, answer
        dealer.close()
        if isinstance(answer, Refusal) and not answer.is_temporary:
            raise RefusedError(f"the scheduler at {address} refused: {answer.reason}")
        if is_stopped() or time.monotonic() + pause_s > deadline:
            known = why or doubts.text
            because = f": {known}" if known else ""
            raise SchedulerTimeoutError(f"no scheduler answered at {address} within {timeout_s} s{because}")
        time.sleep(pause_s)
        pause_s = min(MOST_PAUSE_S, pause_s * 2)


def _ask(
    dealer: Dealer, hello: Hello, deadline: float, is_stopped: Callable[[], bool], doubts: Doubts
) -> Welcome | Refusal | None:
    """The answer to one hello; None if the connection failed or nobody answered for a while."""
    dealer.send(encode(Frame(hello)))
    began_s = time.monotonic()
    end = min(deadline, began_s + ANSWER_S)
    doubtful_s = began_s + min(PATIENCE_S, (end - began_s) / 2)
    while not dealer.is_broken and time.monotonic() < end and not is_stopped():
        dealer.wait(min(0.05, end - time.monotonic()))
        data = dealer.receive()
        if data is None:
            if not dealer.is_broken and time.monotonic() > doubtful_s:
                doubts.look(dealer.has_met, end)
            continue
        try:
            body = decode(data).body
        except FrameError as error:
            raise doubts.on_nonsense(error) from error
        if isinstance(body, Welcome | Refusal):
            return body
    return None
