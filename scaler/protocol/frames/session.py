"""Bodies about a session: its beginning and end, which workers are there, and whether the peers live.

The same file of the schema is protocol/session.capnp; each class has the field names of a struct there. `find_error`
says what cannot be, as far as that needs no knowledge of the session.

Not here: the other bodies (batch, object), Cap'n Proto (codec), numbering (session.ledger).
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from scaler._native import is_supply
from scaler.protocol.bounds import (
    MOST_ADDRESS_BYTES,
    MOST_CLAIMED,
    MOST_FACTS_LENGTH,
    MOST_IDENTITY_BYTES,
    MOST_RESOURCES_LENGTH,
    MOST_TEXT_LENGTH,
    SEAL_BYTES,
    SESSION_BYTES,
    VOUCHER_BYTES,
)
from scaler.protocol.frames.columns import ALL, column, ids_column, row_count, values
from scaler.protocol.frames.errors import FrameError

CLIENT_BITS = 24
MOST_NAMES = 512  # of clusters that have joined
MOST_REASONS = 100  # for which workers have ended


class Role(IntEnum):
    """What kind of peer says hello."""

    CLIENT = 0
    CLUSTER = 1


def long_text(where: str, *texts: str) -> str | None:
    if any(len(text) > MOST_TEXT_LENGTH for text in texts):
        return f"{where}: a text has more than {MOST_TEXT_LENGTH} characters"
    return None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Nothing but the number in the frame's header."""


@dataclass(frozen=True, slots=True)
class Hello:
    role: int = Role.CLIENT
    python_major: int = 0
    python_minor: int = 0
    identity: bytes = b""
    client_bits: int = 0
    session: bytes = b""
    received: int = 0
    epoch: int = 0
    pid: int = 0
    uid: int = 0
    host_name: str = ""
    cluster_name: str = ""
    worker_names: tuple[str, ...] = ()
    is_nested: bool = False
    voucher: bytes = b""
    is_elastic: bool = False
    minor: int = 0

    @property
    def has_python(self) -> bool:
        """It makes pickles, or reads some."""
        return bool(self.python_major)

    @property
    def key_role(self) -> str:
        """Whose key is shown with it: the client of a worker's tasks has the worker's."""
        return "worker" if self.role == Role.CLUSTER or self.is_nested else "client"

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if self.role not in (Role.CLIENT, Role.CLUSTER):
            return f"hello: role {self.role} is neither a client nor a cluster"
        if self.client_bits >> CLIENT_BITS or (self.role == Role.CLUSTER and self.client_bits):
            return f"hello: client bits {self.client_bits:#x} are not {CLIENT_BITS} bits of a client"
        if not 1 <= len(self.identity) <= MOST_IDENTITY_BYTES:
            return f"hello: an identity has 1 to {MOST_IDENTITY_BYTES} bytes, not {len(self.identity)}"
        if len(self.session) not in (0, SESSION_BYTES):
            return f"hello: a session's token has {SESSION_BYTES} bytes, not {len(self.session)}"
        if self.received and not self.session:
            return "hello: numbers were received, but no session is named"
        if len(self.voucher) not in (0, VOUCHER_BYTES):
            return f"hello: a voucher has {VOUCHER_BYTES} bytes, not {len(self.voucher)}"
        return long_text("hello", self.host_name, self.cluster_name) or long_text("hello", *self.worker_names)


@dataclass(frozen=True, slots=True)
class Welcome:
    epoch: int = 0
    session: bytes = b""
    resumed: bool = False
    received: int = 0
    local_address: str = ""
    heartbeat_ms: int = 0
    monitor: str = ""
    objects_port: int = 0
    objects_number: int = 0
    objects_key: bytes = b""
    minor: int = 0

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if len(self.session) != SESSION_BYTES:
            return f"welcome: a session's token has {SESSION_BYTES} bytes, not {len(self.session)}"
        if self.received and not self.resumed:
            return "welcome: numbers were received in a session that is new"
        if not self.epoch or not self.heartbeat_ms:
            return "welcome: the scheduler's epoch and its heartbeat interval are not 0"
        if len(self.local_address.encode()) > MOST_ADDRESS_BYTES:
            return "welcome: the address for co-location is longer than an AF_UNIX address may be"
        if len(self.objects_key) not in (0, SEAL_BYTES):
            return f"welcome: a key for objects has {SEAL_BYTES} bytes, not {len(self.objects_key)}"
        return long_text("welcome", self.monitor)


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str = ""
    is_temporary: bool = False

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        return long_text("refusal", self.reason) if self.reason else "refusal: it gives no reason"


@dataclass(frozen=True, slots=True)
class Goodbye:
    reason: str = ""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        return long_text("goodbye", self.reason)


@dataclass(frozen=True, slots=True)
class Joined:
    peer: int = 0
    name: str = ""
    pid: int = 0
    outlived: bool = False
    task: int = 0
    attempt: int = 0
    voucher: bytes = b""
    resources: str = ""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if len(self.voucher) not in (0, VOUCHER_BYTES):
            return f"joined: a voucher has {VOUCHER_BYTES} bytes, not {len(self.voucher)}"
        if len(self.resources) > MOST_RESOURCES_LENGTH:
            return f"joined: its resources have more than {MOST_RESOURCES_LENGTH} characters"
        if self.resources and not is_supply(self.resources.encode()):
            return "joined: what it says of its resources makes no sense"
        return long_text("joined", self.name)


@dataclass(frozen=True, slots=True)
class Left:
    peer: int = 0
    return_code: int = 0
    reason: str = ""
    tasks: bytes = b""
    attempts: bytes = b""

    @staticmethod
    def columns_of(claimed: Iterable[tuple[int, int]]) -> dict[str, bytes]:
        """The columns for (task, attempt) of what it had begun, as keyword arguments of a Left."""
        rows = list(claimed)
        if not rows:
            return {}
        return {
            "tasks": ids_column([task for task, _ in rows]),
            "attempts": column("Q", [attempt for _, attempt in rows]),
        }

    def claimed(self) -> list[tuple[int, int]]:
        """(task, attempt) per row; FrameError if the columns don't fit each other."""
        if not self.tasks and not self.attempts:
            return []
        n = row_count("tasks", self.tasks, 8)
        return list(zip(values("tasks", "Q", self.tasks, n), values("attempts", "Q", self.attempts, n), strict=True))

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if len(self.reason) > MOST_FACTS_LENGTH:
            return f"left: what is told of a death has more than {MOST_FACTS_LENGTH} characters"
        if len(self.tasks) > 8 * MOST_CLAIMED:
            return f"left: more than {MOST_CLAIMED} tasks that a worker had begun"
        return None


@dataclass(frozen=True, slots=True)
class Clear:
    """Cancel all tasks of this client. Its objects go by Release."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the scheduler (from a client) or the cluster (from the scheduler)."""


@dataclass(frozen=True, slots=True)
class ShutdownAnswer:
    reason: str = ""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        return long_text("shutdownanswer", self.reason)


@dataclass(frozen=True, slots=True)
class Unable:
    """No worker of a cluster can start; without a reason one has."""

    reason: str = ""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        return long_text("unable", self.reason)


@dataclass(frozen=True, slots=True)
class Demand:
    """How much work there is; the last two columns have a row for each worker that has none."""

    tasks: int = 0
    work_ns: int = 0
    workers: int = 0
    sharers: int = 0
    idle: bytes = b""
    idle_ns: bytes = b""
    joined: tuple[str, ...] = ()

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        return long_text("demand", *self.joined)

    def for_cluster(self, name: str, idle: Sequence[tuple[int, int]] = ()) -> "Demand":
        """What the cluster of this name is told, and (worker, ns) of those of its workers that have nothing to do."""
        joined = tuple(each for each in self.joined if name and each != name and each.startswith(name))[:MOST_NAMES]
        peers, times = [peer for peer, _ in idle], [ns for _, ns in idle]
        return replace(
            self, joined=joined, idle=column("I", peers) or bytes(4 * len(peers)), idle_ns=column("Q", times)
        )

    def n_rows(self) -> int:
        return len(self.idle) // 4

    def rows(self, some: slice = ALL) -> list[tuple[int, int]]:
        """(worker, for how long it has had nothing to do, in ns); FrameError if the columns don't fit each other."""
        n = self.n_rows()
        peers, times = values("idle", "I", self.idle, n, some), values("idleNs", "Q", self.idle_ns, n, some)
        return list(zip(peers, times, strict=True))


@dataclass(frozen=True, slots=True)
class Leaving:
    """These workers end once they have done what they run: they are to be given nothing more."""

    peers: bytes = b""

    @classmethod
    def of(cls, peers: Iterable[int]) -> "Leaving":
        """Of at least one."""
        numbers = list(peers)
        return cls(column("I", numbers) or bytes(4 * len(numbers)))

    def n_rows(self) -> int:
        """How many there are."""
        return row_count("peers", self.peers, 4)

    def rows(self, some: slice = ALL) -> list[int]:
        """The relay's numbers of the workers; FrameError if the column makes no sense."""
        return values("peers", "I", self.peers, self.n_rows(), some)


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers the scheduler has."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a host and its processes take: `reasons` and `restarts` have a row for each reason, the last five columns
    one for each worker."""

    cores: int = 0
    agent_pid: int = 0
    agent_cpu_share: float = 0.0
    agent_rss_bytes: int = 0
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0
    shared_memory_total_bytes: int = 0
    shared_memory_free_bytes: int = 0
    reasons: tuple[str, ...] = ()
    restarts: bytes = b""
    peers: bytes = b""
    pids: bytes = b""
    cpu_shares: bytes = b""
    rss_bytes: bytes = b""
    in_place: bytes = b""

    def find_error(self) -> str | None:
        if len(self.reasons) > MOST_REASONS or len(self.restarts) not in (0, 8 * len(self.reasons)):
            return f"usage: {len(self.reasons)} reasons with {len(self.restarts)} bytes of counts"
        return long_text("usage", *self.reasons)

    def n_rows(self) -> int:
        return len(self.peers) // 4

    def rows(self, some: slice = ALL) -> list[tuple[int, int, float, int, int]]:
        """(worker, pid, share of a core, resident bytes, calls run in place)."""
        n, shares = self.n_rows(), array("f")
        if len(self.cpu_shares) != 4 * n:
            raise FrameError(f"cpuShares: {len(self.cpu_shares)} bytes are not {n} rows of 4 bytes")
        shares.frombytes(self.cpu_shares)
        if sys.byteorder != "little":
            shares.byteswap()
        columns = (("peers", "I"), ("pids", "I"), ("rss_bytes", "Q"), ("in_place", "Q"))
        peers, pids, rss, in_place = (values(name, code, getattr(self, name), n, some) for name, code in columns)
        return list(zip(peers, pids, shares[some], rss, in_place, strict=True))
