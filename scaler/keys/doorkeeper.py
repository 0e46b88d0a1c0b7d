"""Doorkeeper: lets in the ZeroMQ connections that show a known key, and says in which role.

ZeroMQ does the cryptography (CURVE) and then asks whether a key is known, by its ZAP protocol, at a fixed address in
the process. Without an answer to that question ZeroMQ would let in every key; so a socket that `guard` has prepared
also demands that the question is answered (ZAP_ENFORCE_DOMAIN), and if the doorkeeper's thread is gone nobody gets in.

The thread does nothing else, so a scheduler that is busy answers newcomers all the same.

Rule 1: whatever comes is answered, or the asking connection would wait for ever: what is no question of this protocol
        with a refusal.
Rule 2: who is refused is told nothing but that. The scheduler's log says from where, once a second at most.
Not here: which role may say what (session.remote_peers), the keys' files (folder).
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping

import zmq
from zmq.utils import z85

from scaler.exceptions import ScalerError
from scaler.keys.folder import ROLES, PeerKeys, SchedulerKeys
from scaler.program.sparing_log import SparingLog
from scaler.program.threads import check_threads, new_thread

SESSIONS, MONITORS = "scaler", "scaler-monitor"  # what a socket is for: ZAP's domains
MAY_COME = {SESSIONS: ("client", "worker"), MONITORS: ROLES}
USER_ID = "User-Id"
_ZAP = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_REQUEST_PARTS = 7
NO_KEYS = "the scheduler wants keys, and none were given (keys=FOLDER, --keys FOLDER, or SCALER_KEYS)"
_OLDEST = (4, 3, 3)  # those before have holes that reach whoever listens (CVE-2020-15166, CVE-2020-36400)
_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)


class Doorkeeper:
    """Answers for all sockets of one ZeroMQ context. Construct it before they listen; `close` it before the context."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", roles: Mapping[bytes, str]) -> None:
        check_version()
        check_threads(1)
        self.refused: Counter[str] = Counter()
        self._roles = {bytes(z85.decode(key)): role for key, role in roles.items()}
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP)
        stop = f"inproc://scaler-doorkeeper-{id(self)}"
        self._stopped = context.socket(zmq.PAIR)
        self._stopped.bind(stop)
        self._stop = context.socket(zmq.PAIR)
        self._stop.connect(stop)
        self._thread = new_thread("doorkeeper", self._serve)
        self._thread.start()

    def close(self) -> None:
        """From now on nobody gets in. Idempotent."""
        if self._stop.closed:
            return
        with contextlib.suppress(zmq.ZMQError):
            self._stop.send(b"", zmq.NOBLOCK)
        self._thread.join()
        self._stop.close(0)

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._stopped, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll())
                if self._stopped in ready:
                    return
                self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        except zmq.ContextTerminated:
            pass
        finally:
            self._socket.close(0)
            self._stopped.close(0)

    def _answer(self, parts: list[bytes]) -> list[bytes]:
        request = parts[1] if len(parts) > 1 else b""
        role = self._role_of(parts)
        if role is None:
            return [_VERSION, request, b"400", b"this key is not known here", b"", b""]
        return [_VERSION, request, b"200", b"", role.encode(), b""]

    def _role_of(self, parts: list[bytes]) -> str | None:
        if len(parts) != _REQUEST_PARTS or parts[0] != _VERSION or parts[2].decode(errors="replace") not in MAY_COME:
            self._refuse("no question of this protocol", b"?")
            return None
        role = self._roles.get(parts[6]) if parts[5] == b"CURVE" else None
        if role is None:
            self._refuse("unknown key", parts[3])
        elif role not in MAY_COME[parts[2].decode()]:
            self._refuse(f"the key of a {role}", parts[3])
            return None
        return role

    def _refuse(self, why: str, address: bytes) -> None:
        self.refused[why] += 1
        _sparing.warning(
            address, "a connection from %s was refused: %s (%d so far)", address.decode("ascii", "replace"), why,
            self.refused[why],
        )  # fmt: skip


def check_version() -> None:
    """ScalerError if this libzmq must not listen to strangers."""
    if zmq.zmq_version_info() < _OLDEST:
        raise ScalerError(
            f"libzmq {zmq.zmq_version()} has known holes: keys need {'.'.join(map(str, _OLDEST))} or newer "
            "(`pip install -U pyzmq` brings one)"
        )


def guard(socket: "zmq.Socket[bytes]", keys: SchedulerKeys, purpose: str = SESSIONS) -> None:
    """This socket speaks CURVE, and lets in only what a Doorkeeper of its context lets in. Before it listens."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
    socket.setsockopt_string(zmq.ZAP_DOMAIN, purpose)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def role_shown(frame: zmq.Frame) -> str:
    """The role of the key that the connection has shown from which this came, by a socket with a guard."""
    try:
        return str(frame.get(USER_ID))
    except zmq.ZMQError:
        return "nobody"


def show(socket: "zmq.Socket[bytes]", keys: PeerKeys) -> None:
    """This socket speaks CURVE with the scheduler of these keys, and shows its own. Before it connects."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.scheduler)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)


def why_refused(event: int, keys: PeerKeys | None) -> str | None:
    """What the end of ZeroMQ's handshake says (an event of a socket's monitor); None if it is another event."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "the scheduler does not know this key: use a folder of keys that was made with the scheduler's"
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and keys is None:
        return NO_KEYS
    return None


def why_doubtful(event: int, keys: PeerKeys | None) -> str | None:
    """What the end of the handshake means if what listens there speaks ZeroMQ; None if it is another event.

    A connection that breaks ends it in the same way, as one to a proxy does whose scheduler is being started again.
    """
    if event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
        if keys is None:
            return NO_KEYS
        return "this is not the scheduler of these keys, or it speaks without any: use the folder it was started with"
    return None
