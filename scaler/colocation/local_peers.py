"""LocalPeers: the clients and workers that handed their rings in at the door.

Opens their segments, gives them to the pump, and tells the pump when they have gone; stops what workers run that nobody
wants any more. A relay has the same at its end.

Not here: the handshake itself (colocation.door), what their records mean (the core).
"""

import asyncio
import logging
import secrets
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from scaler._native import Peer, Pump
from scaler.cancellation.stopper import Stopper
from scaler.colocation.door import Door, Visitor, rings_of
from scaler.colocation.knock import Refused
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.names import sweep_tag
from scaler.colocation.voucher import voucher_of
from scaler.program.processes import Process
from scaler.program.sparing_log import SparingLog
from scaler.values.death_facts import facts_from, pack_facts

_sparing = SparingLog(logging.getLogger(__name__))
LOOK_TICKS = 5  # of the pump, between two looks for tasks that run too long


class LocalPeers:
    """`on_change(visitor, joined)` is called after a peer has joined or left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pump: Pump,
        life: str,
        bell_name: str,
        memory: ObjectMemory,
        queue_size: int,
        on_change: Callable[[Visitor, bool], None],
    ) -> None:
        self._loop = loop
        self._pump, self._life, self._bell_name, self._queue_size = pump, life, bell_name, queue_size
        self._stopper: Stopper[Peer] = Stopper(self._take_back, self._on_kill, self._ask_clusters)
        self._timer: asyncio.TimerHandle | None = None
        self._memory = memory
        self._host = socket.gethostname()
        self._on_change = on_change
        self._by_peer: dict[Peer, Visitor] = {}
        self.door = Door(
            loop, f"scaler-{life}-{secrets.token_hex(4)}", pump.eventfd, self._join, self._leave, self._on_said
        )
        # By what their supervisors call them, since a number may mean another process there.
        self.unable: dict[Visitor, str] = {}  # the supervisors here, and why no worker of theirs can start
        self._told: dict[str, dict[str, Any]] = {}  # facts of deaths of processes that have not been seen to leave yet
        # Processes that have, and whose facts are waited for -> their tags, and what is known without them.
        self._awaited: dict[str, tuple[int, dict[str, Any]]] = {}

    def _join(self, visitor: Visitor) -> dict[str, Any]:
        request = visitor.request
        memory = rings_of(visitor, self._life)
        role = request["role"]
        if role == "worker":
            tag = int(request["tag"]) if visitor.memory >= 0 else 0  # it has outlived another scheduler
            process = visitor.process  # first, since it fails where there are no descriptors left
            peer = self._pump.add(memory, True, visitor.doorbell, queue_size=self._queue_size, tag=tag)
            self._stopper.add(peer, peer.running, process, request)
            visitor.voucher = voucher_of(memory)
        elif role == "client":
            bits, worker_tag = int(request.get("bits", 0)), self._worker_tag_in(request)
            peer = self._pump.add(memory, False, visitor.doorbell, client_bits=bits, worker_tag=worker_tag)
        elif role == "cluster":
            # It wants to know whether its workers may come here, and to hear when they shall stop.
            self.unable[visitor] = ""
            return {"slot": 0, "bell": self._bell_name, "life": self._life, "tag": 0, "memory": self._memory}
        else:
            raise Refused(f"{role!r} is no kind of peer that has rings")
        visitor.peer = peer
        self._by_peer[peer] = visitor
        _sparing.info(
            visitor.pid, "%s %s joined over shared memory (process %d)", role, request.get("name", ""), visitor.pid
        )
        self._on_change(visitor, True)
        return {
            "slot": peer.slot, "bell": self._bell_name, "life": self._life, "tag": peer.tag, "memory": self._memory
        }  # fmt: skip

    def _worker_tag_in(self, request: dict[str, Any]) -> int:
        """Of the worker whose tasks' client asks to be let in; 0 if it is a program's. Refused if it only says so."""
        tag = int(request.get("worker_tag", 0))
        if not tag:
            return 0
        worker = next((one for peer, one in self._by_peer.items() if peer.is_worker and peer.tag == tag), None)
        if worker is None or request.get("voucher") != worker.voucher.hex():
            raise Refused("it says that it is the client of a worker's tasks, and is not")
        return tag

    def _leave(self, visitor: Visitor) -> None:
        if visitor.peer is None:
            self.unable.pop(visitor, None)
            return
        del self._by_peer[visitor.peer]
        final, answer = self._stopper.find_final(visitor.peer), self._stopper.remove(visitor.peer)
        if answer is not None:
            self._pump.answer_for(visitor.peer, answer)
        left = self._remove(visitor, final)
        sweep_tag(self._life, visitor.peer.tag, self._memory.folder, left)
        _sparing.info(
            visitor.pid,
            "%s %s left (process %d)", visitor.request["role"], visitor.request.get("name", ""), visitor.pid,
        )  # fmt: skip
        self._on_change(visitor, False)

    def _remove(self, visitor: Visitor, final: tuple[int, int] | None) -> list[str]:
        """Tell the core, with what is known if a worker has died. The supervisor may have told, or will in a moment."""
        peer = visitor.peer
        if not peer.is_worker:
            return self._pump.remove(peer)
        told = self._told.pop(visitor.key, None)
        about: dict[str, Any] = {"worker": visitor.request.get("name", ""), "host": self._host, "pid": visitor.pid}
        if final is not None and self._pump.core.on_final_run(peer.index, *final):
            about["final"] = True
        left = self._pump.remove(peer, pack_facts({**about, **(told or {})}), told is None)
        self._awaited = {key: known for key, known in self._awaited.items() if self._pump.core.awaits_death(known[0])}
        if self._pump.core.awaits_death(peer.tag):
            self._awaited[visitor.key] = peer.tag, about
        return left

    def _on_said(self, visitor: Visitor, message: dict[str, Any]) -> bool:
        """A supervisor has something to say: how a worker of its has died, or that none can start. False if it is
        nothing of that kind.
        """
        if visitor in self.unable and isinstance(why := message.get("unable"), str):
            self.unable[visitor] = why
            return True
        facts, key = facts_from(message.get("died")), message.get("process")
        if visitor.request["role"] != "cluster" or not facts or not isinstance(key, str):
            return False
        if key in self._awaited:
            tag, about = self._awaited.pop(key)
            self._pump.core.on_death_told(tag, pack_facts({**about, **facts}), time.monotonic_ns())
        elif any(other.key == key for other in self._by_peer.values()):
            self._told[key] = facts
        return True

    # stopping what they run

    def stop_unwanted(self) -> bool:
        """Stop what the core wants stopped, and what has run too long. True if the event loop has a new timer."""
        stops, self._pump.stops[:] = list(self._pump.stops), []
        for peer, task, attempt in stops:
            self._stopper.stop(peer, task, attempt)
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

    def _take_back(self, peer: Peer) -> None:
        self._pump.core.take_back_all(peer.index)

    def _on_kill(self, process: Process) -> None:
        """Its supervisor is to know that this is no accident."""
        self._tell_clusters({"killed": process.key})

    def _ask_clusters(self, peer: Peer, process: Process, number: int) -> None:
        """It takes no signals from here: its supervisor is to send this one."""
        if number == signal.SIGKILL:
            self._pump.core.on_worker_ends(peer.index)
        self._tell_clusters({"signal": int(number), "process": process.key})

    def _tell_clusters(self, message: dict[str, Any]) -> None:
        for visitor in self.door.visitors:
            if visitor.accepted and visitor.request["role"] == "cluster":
                self.door.tell(visitor, message)

    @property
    def clients(self) -> list[Peer]:
        return [peer for peer in self._by_peer if not peer.is_worker]

    @property
    def workers(self) -> list[Peer]:
        return [peer for peer in self._by_peer if peer.is_worker]

    def shut_down_clusters(self) -> None:
        """Tell the supervisors here that no cluster is wanted any more."""
        self._tell_clusters({"shutdown": True})

    def dismiss_broken(self) -> None:
        """Hang up on peers whose rings make no sense. A worker takes that for our end, so its supervisor is told."""
        broken, self._pump.broken[:] = list(self._pump.broken), []
        for peer in broken:
            visitor = self._by_peer.get(peer)
            if visitor is None:
                continue  # it has left meanwhile
            _sparing.error(
                visitor.pid,
                "%s %s (process %d) wrote a record that makes no sense: it is shut out",
                visitor.request["role"], visitor.request.get("name", ""), visitor.pid,
            )  # fmt: skip
            self.door.dismiss(visitor)
            if peer.is_worker:
                self._tell_clusters({"shut_out": visitor.key})

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.door.close()
        self._stopper.close()
