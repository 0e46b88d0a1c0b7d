"""PumpPeers: the processes of the scheduler's host, whose rings its pump reads: clients, workers, supervisors.

Gives their rings to the pump, and tells the core how a worker has died; stops what workers run that nobody wants any
more; tells the supervisors what they are to do.

Not here: the handshake and which process belongs to which rings (colocation.local_peers), what records mean (the core).
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from scaler._native import Peer, Pump, Segment, idle_times_ns, note_worker_process, note_worker_usage
from scaler.cancellation.stopper import Stopper
from scaler.colocation.handshake import Refused
from scaler.colocation.listener import LocalPeer
from scaler.colocation.local_peers import LocalPeers, refuse_role, supply_in
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.names import sweep_tag
from scaler.program.processes import Process
from scaler.program.sparing_log import SparingLog
from scaler.program.stack_dump import NOT_BEGUN
from scaler.protocol.frames import Demand
from scaler.values.death_facts import facts_from, pack_facts
from scaler.values.usage import HostUsage, KnownClient, KnownHost, KnownWorker, usage_from

_sparing = SparingLog(logging.getLogger(__name__))
MOST_IDLE = 1024  # workers that are said to have nothing to do, in one packet
MOST_ASKED = 4096  # questions for stacks that no supervisor has answered
LOOK_TICKS = 5  # of the pump, between two looks for tasks that run too long


class PumpPeers:
    """`on_change()` is called after a client or a worker has joined or left, `on_usage(supervisor, usage)` when one has
    said what its host and its processes take."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pump: Pump,
        epoch: str,
        bell_name: str,
        memory: ObjectMemory,
        queue_size: int,
        on_change: Callable[[], None],
        on_usage: Callable[[LocalPeer, HostUsage], None] = lambda peer, usage: None,
    ) -> None:
        self._loop = loop
        self._pump, self._epoch, self._queue_size = pump, epoch, queue_size
        self._stopper: Stopper[Peer] = Stopper(self._take_back, self._on_kill, self._ask_supervisors)
        self._timer: asyncio.TimerHandle | None = None
        self._folder = memory.folder
        self._host = socket.gethostname()
        self._on_change, self._on_usage = on_change, on_usage
        self.unable: dict[LocalPeer, str] = {}  # the supervisors here, and why no worker of theirs can start
        self.on_answer: Callable[[int, str, str], object] = lambda number, text, problem: None
        self.on_output: Callable[[int, bytes], object] = lambda client, text: None
        self.on_alarm: Callable[[str], object] = lambda why: None  # a worker was killed, and why
        self._asked: dict[int, tuple[LocalPeer, int, int]] = {}  # questions for stacks -> worker, task, attempt
        # By what their supervisors call them, since a number may mean another process there.
        self._told: dict[str, dict[str, Any]] = {}  # facts of deaths of processes that have not been seen to leave yet
        # Processes that have, and whose facts are waited for -> their tags, and what is known without them.
        self._awaited: dict[str, tuple[int, dict[str, Any]]] = {}
        self.local: LocalPeers[Peer] = LocalPeers(
            loop, self, epoch=epoch, bell_name=bell_name, eventfd=pump.eventfd, memory=memory
        )

    # what LocalPeers asks and says

    def take_in(self, peer: LocalPeer, memory: Segment) -> Peer | None:
        request = peer.request
        role = request["role"]
        if role == "worker":
            tag = int(request["tag"]) if peer.memory >= 0 else 0  # it has outlived another scheduler
            supply = supply_in(request)
            process = peer.process  # first, since it fails where there are no descriptors left
            rings = self._pump.add(memory, True, peer.doorbell, queue_size=self._queue_size, tag=tag, supply=supply)
            self._stopper.add(rings, rings.running, process, request)
            note_worker_process(self._pump.core, rings.index, peer.pid)
            return rings
        if role == "client":
            bits, worker_tag = int(request.get("bits", 0)), self._worker_tag_in(request)
            return self._pump.add(memory, False, peer.doorbell, client_bits=bits, worker_tag=worker_tag)
        if role == "cluster":  # it asks whether its workers may come here, and hears when they are to stop
            self.unable[peer] = ""
            if request.get("elastic"):
                self._on_change()
            return None
        raise refuse_role(role, "a scheduler")

    def place_of(self, rings: Peer) -> tuple[int, int]:
        return rings.slot, rings.tag

    def on_joined(self, peer: LocalPeer) -> None:
        _sparing.info(
            peer.pid, "%s %s joined over shared memory (process %d)",
            peer.request["role"], peer.request.get("name", ""), peer.pid,
        )  # fmt: skip
        self._on_change()

    def _worker_tag_in(self, request: dict[str, Any]) -> int:
        """Of the worker whose tasks' client asks to be let in; 0 if it is a program's. Refused if it only says so."""
        tag = int(request.get("worker_tag", 0))
        if not tag:
            return 0
        worker = next((one for rings, one in self.local.by_rings.items() if rings.is_worker and rings.tag == tag), None)
        if worker is None or request.get("voucher") != worker.voucher.hex():
            raise Refused("it says that it is the client of a worker's tasks, and is not")
        return tag

    def on_left(self, peer: LocalPeer) -> None:
        rings: Peer | None = peer.rings
        if rings is None:
            self.unable.pop(peer, None)
            return
        final, piece_node = self._stopper.find_final(rings), self._stopper.find_piece_node(rings)
        answer = self._stopper.remove(rings)
        if answer is not None:
            self._pump.answer_for(rings, answer)
        left = self._remove(peer, rings, final, piece_node)
        sweep_tag(self._epoch, rings.tag, self._folder, left)
        _sparing.info(peer.pid, "%s %s left (process %d)", peer.request["role"], peer.request.get("name", ""), peer.pid)
        self._on_change()

    def _remove(self, peer: LocalPeer, rings: Peer, final: tuple[int, int] | None, piece_node: int | None) -> list[str]:
        """Tell the core, with what is known if a worker has died. The supervisor may have told, or will in a moment."""
        if not rings.is_worker:
            return self._pump.remove(rings)
        told = self._told.pop(peer.key, None)
        about: dict[str, Any] = {"worker": peer.request.get("name", ""), "host": self._host, "pid": peer.pid}
        if peer.request.get("leaving") is True:
            about["leaving"] = True
        if piece_node is not None:
            about["piece_node"] = piece_node
        if final is not None and self._pump.core.on_final_run(rings.index, *final):
            about["final"] = True
        left = self._pump.remove(rings, pack_facts({**about, **(told or {})}), told is None)
        self._awaited = {key: known for key, known in self._awaited.items() if self._pump.core.awaits_death(known[0])}
        if self._pump.core.awaits_death(rings.tag):
            self._awaited[peer.key] = rings.tag, about
        return left

    def on_said(self, peer: LocalPeer, message: dict[str, Any]) -> bool:
        """A supervisor says how a worker of its has died, that none can start, or what its processes take."""
        if peer in self.unable and isinstance(why := message.get("unable"), str):
            self.unable[peer] = why
            return True
        if peer in self.unable and isinstance(keys := message.get("leaving"), list):
            self._on_leaving(set(map(str, keys)))
            return True
        if peer in self.unable and isinstance(number := message.get("answer"), int):
            self._on_answer(number, str(message.get("text", "")), str(message.get("problem", "")))
            return True
        if peer in self.unable and isinstance(client := message.get("output"), int):
            self.on_output(client, str(message.get("text", "")).encode("utf-8", "replace"))
            return True
        if peer in self.unable and (usage := usage_from(message.get("usage"))) is not None:
            self._note_usage(peer, usage)
            return True
        facts, key = facts_from(message.get("died")), message.get("process")
        if peer.request["role"] != "cluster" or not facts or not isinstance(key, str):
            return False
        if key in self._awaited:
            tag, about = self._awaited.pop(key)
            self._pump.core.on_death_told(tag, pack_facts({**about, **facts}), time.monotonic_ns())
        elif any(other.key == key for other in self.local.by_rings.values()):
            self._told[key] = facts
        return True

    def _on_leaving(self, keys: set[str]) -> None:
        """These workers end once they have done what they run."""
        now_ns = time.monotonic_ns()
        for rings, other in list(self.local.by_rings.items()):
            if rings.is_worker and other.key in keys:
                other.request["leaving"] = True
                self._pump.core.on_worker_leaves(rings.index, now_ns)

    def on_shut_out(self, peer: LocalPeer) -> None:
        """A worker that is hung up on takes that for the scheduler's end, so its supervisor is told."""
        if peer.rings.is_worker:
            self._tell_supervisors({"shut_out": peer.key})

    # what they do just now, and what they write

    def ask_stack(self, worker: int, number: int, task: int, attempt: int) -> str | None:
        """Have the worker of this index asked what its task does. Why it cannot be, or nothing; None if it is not here.

        `on_answer(number, text, problem)` follows. Its supervisor asks it, which can signal it in any case.
        """
        by_rings = self.local.by_rings
        rings = next((rings for rings in by_rings if rings.is_worker and rings.index == worker), None)
        if rings is None:
            return None
        peer = by_rings[rings]
        if attempt and not rings.running.is_it(task, attempt):
            return f"worker {peer.request.get('name', '')} {NOT_BEGUN}"
        if len(self._asked) >= MOST_ASKED:
            self._asked.clear()  # of supervisors that have gone
        self._asked[number] = peer, task, attempt
        self._tell_supervisors({"stack": number, "asked": peer.key})
        return ""

    def ask_output(self, client: int, new_number: Callable[[], int]) -> None:
        """Have each supervisor say all that this client's tasks have written: `on_output`, then `on_answer`."""
        for peer in self.unable:
            self.local.tell(peer, {"flush": new_number(), "client": client})

    def _on_answer(self, number: int, text: str, problem: str) -> None:
        """A supervisor says what a worker does, which counts if it is still at the same task."""
        peer, task, attempt = self._asked.pop(number, (None, 0, 0))
        if peer is None:
            pass
        elif attempt and peer.rings not in self.local.by_rings:
            text, problem = "", "its worker has just gone"
        elif attempt and not peer.rings.running.is_it(task, attempt):
            text, problem = "", "it has just ended"
        self.on_answer(number, text, problem)

    def _note_usage(self, peer: LocalPeer, usage: HostUsage) -> None:
        """A supervisor has looked at its host, and at some of its workers."""
        workers = {other.key: rings for rings, other in self.local.by_rings.items() if rings.is_worker}
        for one in usage.workers:
            rings = workers.get(one.process)
            if rings is not None:
                pid = self.local.by_rings[rings].pid or one.pid
                note_worker_usage(self._pump.core, rings.index, pid, one.cpu_share, one.rss_bytes, one.in_place)
        usage.workers.clear()
        self._on_usage(peer, usage)

    def count_elastic(self) -> int:
        """How many clusters here grow and shrink."""
        return sum(bool(peer.request.get("elastic")) for peer in self.unable)

    def cluster_names(self) -> list[str]:
        """Of the clusters here that have one."""
        return [name for peer in self.unable if (name := str(peer.request.get("cluster", "")))]

    def tell_demand(self, demand: Demand, now_ns: int) -> None:
        """Tell it to these, and which workers have nothing to do: each supervisor knows its own."""
        listeners = [peer for peer in self.unable if peer.request.get("elastic")]
        if not listeners:
            return
        workers = {rings.index: peer.key for rings, peer in self.local.by_rings.items() if rings.is_worker}
        times_ns = idle_times_ns(self._pump.core, workers, now_ns)
        idle = sorted(((ns, key) for ns, key in zip(times_ns, workers.values(), strict=True) if ns), reverse=True)
        said = {
            "tasks": demand.tasks, "work_ns": demand.work_ns, "workers": demand.workers, "sharers": demand.sharers,
            "idle_ns": {key: ns for ns, key in idle[:MOST_IDLE]},
        }  # fmt: skip
        for peer in listeners:
            joined = demand.for_cluster(str(peer.request.get("cluster", ""))).joined
            self.local.tell(peer, {"demand": {**said, "joined": joined}})

    # who is here, for those who look

    def known_workers(self) -> dict[int, KnownWorker]:
        """By their indices in the core."""
        return {
            rings.index: KnownWorker(str(peer.request.get("name", "")), 0)
            for rings, peer in self.local.by_rings.items()
            if rings.is_worker
        }

    def known_clients(self) -> dict[int, KnownClient]:
        """By the high bits of their tasks."""
        return {
            rings.tag: KnownClient(str(peer.request.get("name", "")), self._host, peer.pid)
            for rings, peer in self.local.by_rings.items()
            if not rings.is_worker
        }

    def known_hosts(self) -> list[KnownHost]:
        return [KnownHost(0, self._host, str(peer.request.get("name", "")), peer.pid) for peer in self.unable]

    def why_unable(self) -> list[str]:
        """Of each supervisor here, why none of its workers can start; "" if they can."""
        return list(self.unable.values())

    # stopping what they run

    def stop_unwanted(self) -> bool:
        """Stop what the core wants stopped, and what has run too long. True if the event loop has a new timer."""
        stops, self._pump.stops[:] = list(self._pump.stops), []
        for rings, task, attempt in stops:
            self._stopper.stop(rings, task, attempt)
        if self._pump.ticks >= LOOK_TICKS:
            self._pump.ticks = 0
            self._stopper.look_for_overdue()
        return self._tick_later()

    def _tick_later(self) -> bool:
        due_s = self._stopper.next_due_s
        if due_s is None or self._timer is not None:
            return False
        self._timer = self._loop.call_later(max(0.0, due_s - time.monotonic()), self._on_timer)
        return True

    def _on_timer(self) -> None:
        self._timer = None
        self._stopper.tick()
        self._tick_later()

    def _take_back(self, rings: Peer) -> None:
        self._pump.core.take_back_all(rings.index)

    def _on_kill(self, process: Process, why: str) -> None:
        """Its supervisor is to know that this is no accident."""
        self._tell_supervisors({"killed": process.key})
        self.on_alarm(why)

    def _ask_supervisors(self, rings: Peer, process: Process, number: int) -> None:
        """It takes no signals from here: its supervisor is to send this one."""
        if number == signal.SIGKILL:
            self._pump.core.on_worker_ends(rings.index)
        self._tell_supervisors({"signal": int(number), "process": process.key})

    def _tell_supervisors(self, message: dict[str, Any]) -> None:
        for peer in self.local.with_role("cluster"):
            self.local.tell(peer, message)

    def name_of_client(self, bits: int) -> str | None:
        """What people call the client whose tasks' ids begin with these bits; None if it is not here."""
        for rings, peer in self.local.by_rings.items():
            if not rings.is_worker and rings.tag == bits:
                whose = f" of the tasks in worker {peer.request['name']}" if peer.request.get("worker_tag") else ""
                return f"client {bits:06x}{whose} (process {peer.pid} on {self._host})"
        return None

    @property
    def clients(self) -> list[Peer]:
        return [rings for rings in self.local.by_rings if not rings.is_worker]

    @property
    def workers(self) -> list[Peer]:
        return [rings for rings in self.local.by_rings if rings.is_worker]

    def shut_down_clusters(self) -> None:
        """Tell the supervisors here that no cluster is wanted any more."""
        self._tell_supervisors({"shutdown": True})

    def shut_out_broken(self) -> None:
        """Hang up on processes whose rings make no sense."""
        broken, self._pump.broken[:] = list(self._pump.broken), []
        for rings in broken:
            self.local.shut_out(rings)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.local.close()
        self._stopper.close()
