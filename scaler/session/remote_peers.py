"""RemotePeers: what comes in on the scheduler's ZeroMQ address, sorted by session. No socket: bytes in, bytes out.

A peer says hello and is told the address of the scheduler's listener for its own host. One that shares this host's
memory goes on there and is not seen here again. The others stay, each with a session of its own, which survives a
broken connection: the next hello names it.

| what is kept of all links | which | until |
| --- | --- | --- |
| `_unbegun` | have said nothing but hello, oldest first | they say something, BEGIN_S, MOST_UNBEGUN |
| `_ready` | may have something to say or to take (their sessions) | the next flush |
| `_owing` | are owed an acknowledgement | the next tick |
| `_to_tell` | are clients that have not heard how many workers there are | their part of a flush |
| `_leaving` | have gone, and something is still to be done about that | it is done |

Rule 1: nothing that comes in may hurt any peer but its sender: it is counted, logged, answered with a refusal if it is
        a frame at all, and dropped.
Not here: what waits for its turn (link), which peer has gone (silence), how many answers a stranger gets (strangers),
what clients and clusters say (client_at_scheduler, cluster_at_scheduler).
"""

import logging
import secrets
import sys
from collections import Counter, deque
from collections.abc import Callable

from scaler._native import SchedulerCore
from scaler.program.sparing_log import SparingLog
from scaler.protocol.bounds import HELLO_LIMIT_BYTES, plain_text
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import (
    PROTOCOL_MINOR,
    Acknowledge,
    Body,
    Demand,
    Frame,
    FrameError,
    Goodbye,
    Heartbeat,
    Hello,
    Joined,
    Left,
    Refusal,
    Role,
    Serves,
    Shutdown,
    ShutdownAnswer,
    Welcome,
    Workers,
)
from scaler.session.client_at_scheduler import ClientAtScheduler
from scaler.session.cluster_at_scheduler import ClusterAtScheduler
from scaler.session.link import DONE, EARLY, WAITING_BYTES, Link
from scaler.session.session_at_scheduler import HostObjects, SessionAtScheduler, Steps
from scaler.session.silence import AT_ONCE, Silence
from scaler.session.strangers import Strangers
from scaler.session.task_observers import BODIES, Listeners, TaskObservers
from scaler.values.usage import HostUsage, KnownClient, KnownHost, KnownWorker

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
ACKNOWLEDGE_S = 0.02
WARNING_S = 1.0
BEGIN_S = 60.0  # within which a peer that stays says something after its hello; one of this host says goodbye sooner
MOST_UNBEGUN = 1024  # that have said nothing but hello; the oldest go first
TURN_BYTES = 64 << 10  # of frames that one session is given in a turn; the last may be larger, and be done in slices


class RemotePeers:
    """`send(routing id, frame)` hands a frame to the socket, and is true if that has a connection to there.

    `ping_timeout_s`: after so long without an answer to its pings ZeroMQ closes a connection. `on_change()` says that
    workers have come or gone.
    """

    def __init__(
        self,
        core: SchedulerCore,
        epoch: str,
        local_address: str,
        objects: HostObjects,
        *,
        queue_size: int,
        client_timeout_s: float,
        worker_timeout_s: float,
        heartbeat_s: float,
        ping_timeout_s: float,
        send: Callable[[bytes, bytes], bool],
        on_change: Callable[[], None],
        on_shutdown: Callable[[], str],
        listeners: Listeners | None = None,
    ) -> None:
        self._core, self._epoch, self._local_address, self._objects = core, epoch, local_address, objects
        self._queue_size, self._heartbeat_s = queue_size, heartbeat_s
        self._silence = Silence(client_timeout_s, worker_timeout_s, heartbeat_s, ping_timeout_s)
        self._send, self._on_change, self._on_shutdown = send, on_change, on_shutdown
        self._links: dict[bytes, Link] = {}  # by routing id
        self._by_token: dict[bytes, Link] = {}
        self._by_session: dict[SessionAtScheduler, Link] = {}
        self._ready: set[SessionAtScheduler] = set()  # that may have something to say, or to take
        self.task_observers = TaskObservers(listeners or Listeners(), self._by_session.keys(), self._ready)
        self._unbegun: dict[Link, None] = {}  # in the order in which they came
        self._vouchers: set[bytes] = set()  # of the workers elsewhere
        self._strangers = Strangers()
        self._leaving: deque[Steps] = deque()  # what is still to be done about those that have gone
        self._owing: set[Link] = set()  # that wait for an acknowledgement
        self._now_ns = 0  # as the caller's clock has it
        self._to_tell: dict[Link, None] = {}  # clients that have not heard how many workers there are
        self._workers = Workers(0)
        self._number = 0  # of the newest session
        self._next_warning_s = 0.0
        self.dropped = 0
        self.refused_roles: Counter[str] = Counter()  # hellos of one role with the key of another
        self.monitor = ""  # where the scheduler says how it is, for those who look
        self.received: Counter[str] = Counter()  # frames, by kind

    # events

    def is_known(self, routing_id: bytes) -> bool:
        """Whether this connection has a session."""
        return routing_id in self._links

    def on_message(self, routing_id: bytes, parts: list[bytes], now_s: float, shown: str = "") -> None:
        """One ZeroMQ message; `shown` is the role whose key a connection without a session has shown, if any."""
        self._now_ns = int(now_s * 1e9)
        link = self._links.get(routing_id)
        try:
            if len(parts) != 1:
                raise FrameError(f"a message of {len(parts)} parts; a frame is one part")
            frame = decode(parts[0]) if link is not None else decode(parts[0], HELLO_LIMIT_BYTES)
            self.received[type(frame.body).__name__.lower()] += 1
            if isinstance(frame.body, Hello):
                self._on_hello(routing_id, frame.body, now_s, shown)
            elif link is None:
                self.dropped += 1  # a session that was ended here, or a stranger
            else:
                link.heard_s = now_s
                self._ready.add(link.session)
                if link.is_busy:
                    self._put_off(link, frame, len(parts[0]))
                else:
                    self._take(link, frame)
        except Exception as error:  # whatever a frame can bring about is its sender's trouble
            self._drop(routing_id, link, error, now_s)

    def _take(self, link: Link, frame: Frame, is_cleared: bool = False) -> None:
        body = link.session.talk.take(frame)
        if frame.number:
            self._owing.add(link)
            link.early.pop(frame.number, None)  # a Clear, say, would clear what was said after it, too
            begun = link.returned.pop(frame.number, None)
            if begun is not None and body is not None:  # by now the same task may have been lent once more
                body, link.session.now_ns = None, self._now_ns
                if next(begun, DONE) is not DONE:
                    link.steps = begun
        if body is not None:
            self._on_body(link, body, is_cleared)
        link.check_unacknowledged()

    def _put_off(self, link: Link, frame: Frame, size: int) -> None:
        """Something is still to be done about what came before: what is numbered waits here unacknowledged."""
        is_client = link.session.hello.role == Role.CLIENT
        if isinstance(frame.body, Goodbye) and is_client:
            self._end(link, "it said goodbye")
        elif not frame.number:
            self._take(link, frame)
        else:
            if isinstance(frame.body, Shutdown) and is_client:
                self._shut_down(link)
                frame = Frame(Acknowledge(), frame.number, frame.acknowledged)  # its number is still to be taken
            if isinstance(frame.body, EARLY) and is_client:
                link.do_early(frame)
            link.put_off(frame, size)

    def _go_on(self, link: Link) -> None:
        """Give it its turn: a slice of what can be done early, and of what is to be done next."""
        link.session.now_ns = self._now_ns
        link.go_on_early()
        left = TURN_BYTES
        while link.is_busy and left > 0 and link.token in self._by_token:
            if link.steps is None:
                waiting = link.next_untaken()
                left -= waiting.size + WAITING_BYTES
                self._take(link, waiting.frame, waiting.is_cleared)
            elif next(link.steps, DONE) is DONE:
                link.steps = None
            else:
                return

    def _drop(self, routing_id: bytes, link: Link | None, error: Exception, now_s: float) -> None:
        """A frame could not be taken: its sender hears why, and the session is over."""
        self.dropped += 1
        if now_s >= self._next_warning_s:  # a flood of nonsense is not to become one of warnings
            self._next_warning_s = now_s + WARNING_S
            _log.warning("a frame was dropped (%d in all): %s", self.dropped, error)
        self._refuse(routing_id, f"the scheduler could not take a frame: {error}")
        if link is not None:
            self._end(link, "it sent a frame that could not be taken")

    def _on_hello(self, routing_id: bytes, hello: Hello, now_s: float, shown: str) -> None:
        here = sys.version_info
        if hello.has_python and (hello.python_major, hello.python_minor) != here[:2]:
            self._refuse(
                routing_id,
                f"this side runs Python {hello.python_major}.{hello.python_minor}, the scheduler {here[0]}.{here[1]}: "
                "pickles must match, so use the same minor version on both",
                is_hello=True,
            )
            return
        if routing_id in self._links:
            raise FrameError("a second hello in one session")
        if why := _why_not_with(hello, shown):
            self.refused_roles[f"the key of a {shown} as a {hello.key_role}'s"] += 1
            _sparing.warning(hello.host_name, "a connection from %s was refused: %s", hello.host_name, why)
            self._refuse(routing_id, why, is_hello=True)
            return
        link = self._by_token.get(hello.session) if hello.session else None
        if link is not None and link.shown != shown:
            link = None  # its token has come into other hands
        if link is None and (why := self._why_not_new(hello)):
            if not hello.session:
                self._refuse(routing_id, why, True, is_hello=True)
            elif self._may_answer(routing_id, True):  # waiting would not bring it back: it hears that, and nothing else
                self._welcome(routing_id, secrets.token_bytes(16), False)
            return
        if link is not None:
            link.session.talk.resume(hello.received)
            link.on_connected_again()
            del self._links[link.routing_id]
            link.routing_id, link.heard_s = routing_id, now_s
            link.is_reachable, link.closed_s = True, None
        else:
            link = self._new_link(routing_id, hello, now_s)
            link.shown = shown
        self._links[routing_id] = link
        self._ready.add(link.session)
        self._strangers.on_session(routing_id)
        resumed = bool(hello.session) and link.token == hello.session
        self._welcome(routing_id, link.token, resumed, link.session.talk.ledger.received, link.session.number)

    def _why_not_new(self, hello: Hello) -> str:
        """Why it cannot have a session just now; nothing if it can."""
        if hello.role == Role.CLIENT and self._core.has_client(hello.client_bits):
            return f"client number {hello.client_bits} is in use: draw another"
        if hello.is_nested and hello.voucher not in self._vouchers:  # its worker's host may just be coming over
            return "the worker whose tasks it says it is the client of is not here"
        return ""

    def _welcome(self, routing_id: bytes, token: bytes, resumed: bool, received: int = 0, number: int = 0) -> None:
        port = self._objects.port
        welcome = Welcome(
            int(self._epoch, 16), token, resumed, received if resumed else 0, self._local_address,
            round(self._heartbeat_s * 1000), self.monitor,
            objects_port=0 if port is None else port.port, objects_number=number,
            objects_key=(port.key_for(number) or b"") if port is not None and number else b"", minor=PROTOCOL_MINOR,
        )  # fmt: skip
        self._send(routing_id, encode(Frame(welcome, 0, received)))

    def _new_link(self, routing_id: bytes, hello: Hello, now_s: float) -> Link:
        session: SessionAtScheduler
        self._number += 1
        if hello.role == Role.CLIENT:
            session = ClientAtScheduler(self._core, hello, self._objects, self._ready, self._number)
        else:
            session = ClusterAtScheduler(
                self._core, hello, self._objects, self._ready, self._number, self._queue_size, self._vouchers
            )
        if self._objects.port is not None:
            self._objects.port.admit(self._number)
        if hello.is_elastic:
            self._on_change()
        link = Link(session, secrets.token_bytes(16), routing_id, now_s, now_s)
        self._by_token[link.token] = self._by_session[session] = link
        self._unbegun[link] = None
        if len(self._unbegun) > MOST_UNBEGUN:
            self._lose_patience(next(iter(self._unbegun)), "too many others had said no more than hello, either")
        return link

    def _on_body(self, link: Link, body: Body, is_cleared: bool = False) -> None:
        if not link.has_begun and not isinstance(body, Acknowledge | Heartbeat | Goodbye):
            link.has_begun = True
            self._unbegun.pop(link, None)
        if isinstance(body, Acknowledge | Heartbeat):
            return
        if isinstance(body, Goodbye):
            self._end(link, "it said goodbye")
        elif isinstance(body, Shutdown) and link.session.hello.role == Role.CLIENT:
            self._shut_down(link)
        elif isinstance(body, Serves):
            link.session.on_serves(body)
        elif isinstance(body, BODIES):
            self.task_observers.on_body(link.session, body)
        else:
            session = link.session
            session.now_ns = self._now_ns
            steps = session.on_body(body, is_cleared)
            if next(steps, DONE) is not DONE:
                link.steps = steps
            if isinstance(body, Joined | Left):
                _sparing.info((link.token, body.peer), "%s: %s", link.session.hello.host_name, _in_words(body))
                self._on_change()

    def _shut_down(self, link: Link) -> None:
        link.session.talk.post(ShutdownAnswer(self._on_shutdown()))

    def _end(self, link: Link, why: str) -> None:
        if self._by_token.get(link.token) is not link:
            return  # what it said before in the same turn has ended it already
        self._links.pop(link.routing_id, None)
        del self._by_token[link.token]
        del self._by_session[link.session]
        self._unbegun.pop(link, None)
        if self._objects.port is not None:
            self._objects.port.dismiss(link.session.number)
        if link.has_begun:
            hello = link.session.hello
            _sparing.info(hello.host_name, "a %s on %s left: %s", Role(hello.role).name.lower(), hello.host_name, why)
        link.session.now_ns = self._now_ns
        link.steps = None
        leaving = link.session.on_left()
        if next(leaving, DONE) is not DONE:
            self._leaving.append(leaving)
        self._on_change()

    def _lose_patience(self, link: Link, why: str) -> None:
        """It has said hello, and then nothing. If it lives it says hello again."""
        self._refuse(link.routing_id, f"nothing came after the hello, and {why}", True)
        self._end(link, why)

    def _refuse(self, routing_id: bytes, reason: str, is_temporary: bool = False, *, is_hello: bool = False) -> None:
        if routing_id in self._links or self._may_answer(routing_id, is_hello):
            self._send(routing_id, encode(Frame(Refusal(plain_text(reason), is_temporary))))

    def _may_answer(self, routing_id: bytes, is_hello: bool) -> bool:
        return self._strangers.may_answer(routing_id, is_hello, self._now_ns / 1e9)

    # who is here, for those who look

    def known_workers(self) -> dict[int, KnownWorker]:
        """By their indices in the core."""
        return {
            index: one
            for session in self._by_session
            if isinstance(session, ClusterAtScheduler)
            for index, one in session.known.items()
        }

    def known_clients(self) -> dict[int, KnownClient]:
        """By the high bits of their tasks."""
        return {
            link.session.hello.client_bits: KnownClient(
                link.session.hello.identity.hex()[:8], link.session.hello.host_name, link.session.hello.pid,
                int(link.heard_s * 1e9),
            )
            for link in self._by_session.values()
            if link.session.hello.role == Role.CLIENT
        }  # fmt: skip

    def known_hosts(self) -> list[KnownHost]:
        found = []
        for session, link in self._by_session.items():
            if isinstance(session, ClusterAtScheduler):
                host = session.known_host()
                host.heard_ns = int(link.heard_s * 1e9)
                found.append(host)
        return found

    def usages(self) -> list[tuple[int, bytes, HostUsage]]:
        """(host, its cluster, what that has said last of it)."""
        return [
            (session.known_host().number, session.hello.identity, session.usage)
            for session in self._by_session
            if isinstance(session, ClusterAtScheduler) and session.usage is not None
        ]

    def why_unable(self) -> list[str]:
        """Of each cluster elsewhere, why none of its workers can start; "" if they can."""
        return [session.unable for session in self._by_session if isinstance(session, ClusterAtScheduler)]

    # the shell's calls

    def flush(self, now_s: float) -> bool:
        """Send what has piled up. True if there was anything."""
        self._now_ns = int(now_s * 1e9)
        gone = self._core.take_gone()
        if gone:
            self._objects.directory.on_gone(gone)
            for link in self._links.values():
                if isinstance(link.session, ClusterAtScheduler):
                    link.session.on_gone(gone)
                    self._ready.add(link.session)
        self._tell_some()
        sent = False
        ready = list(self._ready)
        self._ready.clear()
        for session in ready:
            if session not in self._by_session:
                continue  # it has ended
            link = self._by_session[session]
            try:
                if link.early or link.is_busy:
                    self._go_on(link)
                if session.has_more:
                    session.flush()
                link.check_unacknowledged()
            except Exception as error:  # in a frame that had to wait for its turn
                self._drop(link.routing_id, link, error, link.heard_s)
                sent = True
            else:
                sent = self._empty(link) or sent
                if link.early or link.is_busy or session.can_go_on:
                    self._ready.add(session)
        if self._leaving and next(self._leaving[0], DONE) is DONE:
            self._leaving.popleft()
        return sent

    @property
    def can_go_on(self) -> bool:
        """There is more to be done at the next flush, whether anybody says something or not."""
        return bool(self._leaving or self._to_tell) or any(
            session in self._by_session and self._by_session[session].can_go_on for session in self._ready
        )

    def _empty(self, link: Link) -> bool:
        outbox = link.session.talk.outbox
        for data in outbox:
            link.is_reachable = self._send(link.routing_id, data)
        any_sent = bool(outbox)
        outbox.clear()
        return any_sent

    def on_tick(self, now_s: float) -> None:
        """Acknowledge; now and then send heartbeats, and end what has been silent for too long."""
        self._now_ns = int(now_s * 1e9)
        for _ in range(min(len(self._owing), AT_ONCE)):
            link = self._owing.pop()
            if link.routing_id in self._links:
                link.session.talk.acknowledge()
                self._empty(link)
        if not self._silence.is_amid_round and now_s >= self._silence.next_round_s:
            while self._unbegun and now_s > (oldest := next(iter(self._unbegun))).came_s + BEGIN_S:
                self._lose_patience(oldest, f"{now_s - oldest.came_s:.0f} s have gone by")
            self._silence.begin_round(self._links.values(), now_s)
        for link in self._silence.next_links(now_s):
            if self._by_token.get(link.token) is not link:
                continue  # it has gone meanwhile
            link.session.talk.say(Heartbeat(int(now_s * 1e9)))
            self._empty(link)
            if why := self._silence.why_gone(link, now_s):
                self._refuse(link.routing_id, f"{why}, so it was given up", True)  # if it lives it hears of it
                self._end(link, why)

    def next_tick_s(self, now_s: float) -> float:
        """When on_tick has something to do."""
        if self._silence.is_amid_round:
            return now_s
        return now_s + ACKNOWLEDGE_S if self._owing else max(now_s, self._silence.next_round_s)

    def __bool__(self) -> bool:
        """At least one link is open."""
        return bool(self._links)

    def count_elastic(self) -> int:
        """How many clusters elsewhere grow and shrink."""
        return sum(session.hello.is_elastic for session in self._by_session)

    def cluster_names(self) -> list[str]:
        """Of the clusters elsewhere that have one."""
        return [session.hello.cluster_name for session in self._by_session if session.hello.cluster_name]

    def tell_demand(self, demand: Demand, now_ns: int) -> None:
        """Tell it to these, and each which of its workers have nothing to do."""
        for session, link in self._by_session.items():
            if session.hello.is_elastic and isinstance(session, ClusterAtScheduler):
                session.now_ns = now_ns
                session.tell_demand(demand)
                self._empty(link)

    def shut_down_clusters(self) -> None:
        """Tell all clusters that they are not wanted any more."""
        for link in self._links.values():
            if link.session.hello.role == Role.CLUSTER:
                link.session.talk.post(Shutdown())
                self._ready.add(link.session)

    def tell_workers(self, count: int) -> None:
        """Tell all clients how many workers there are, some at a time. One that misses a number hears the next."""
        self._workers = Workers(count)
        self._to_tell = {
            link: None for link in self._links.values() if link.session.hello.role == Role.CLIENT and link.has_begun
        }

    def _tell_some(self) -> None:
        for _ in range(min(len(self._to_tell), AT_ONCE)):
            link, _ = self._to_tell.popitem()
            if link.session in self._by_session:
                link.session.talk.post(self._workers)
                self._ready.add(link.session)

    def close(self, farewell: str) -> None:
        """Say goodbye to everybody; without a farewell leave as if killed: they wait for another scheduler."""
        for link in list(self._links.values()):
            if farewell:
                link.session.talk.post(Goodbye(farewell))
                self._empty(link)
            link.session.talk.close()


def _why_not_with(hello: Hello, shown: str) -> str:
    """Why a connection that has shown the key of this role may not say this hello; nothing if it may."""
    wanted = hello.key_role
    if not shown or shown == wanted:
        return ""
    return f"it has shown the key of a {shown}, and this takes that of a {wanted}: give it the folder of that role"


def _in_words(body: Joined | Left) -> str:
    """For the log."""
    if isinstance(body, Joined):
        more = ", and goes on with what it ran for the scheduler before" if body.outlived and body.task else ""
        return f"worker {body.name} (process {body.pid}) has joined{more}"
    return f"worker number {body.peer} of this cluster has left with exit code {body.return_code}"
