"""LocalPeers: the clients and workers that handed their rings in at the door.

Opens their segments, gives them to the pump, and tells the pump when they have gone; stops what workers run that nobody
wants any more. A relay has the same at its end.

Not here: the handshake itself (colocation.listener), what their records mean (the core).
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
from scaler.colocation.handshake import Refused
from scaler.colocation.listener import LocalListener, LocalPeer, rings_of
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.names import sweep_tag
from scaler.colocation.voucher import voucher_of
from scaler.program.processes import Process
from scaler.program.sparing_log import SparingLog
from scaler.values.death_facts import facts_from, pack_facts

_sparing = SparingLog(logging.getLogger(__name__))
LOOK_TICKS = 5  # of the pump, between two looks for tasks that run too long


class LocalPeers:
    """`on_change(local_peer, joined)` is called after a peer has joined or left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pump: Pump,
        epoch: str,
        bell_name: str,
        memory: ObjectMemory,
        queue_size: int,
        on_change: Callable[[LocalPeer, bool], None],
    ) -> None:
        self._loop = loop
        self._pump, self._epoch, self._bell_name, self._queue_size = pump, epoch, bell_name, queue_size
        self._stopper: Stopper[Peer] = Stopper(self._take_back, self._on_kill, self._ask_clusters)
        self._timer: asyncio.TimerHandle | None = None
        self._memory = memory
        self._host = socket.gethostname()
        self._on_change = on_change
        self._by_peer: dict[Peer, LocalPeer] = {}
        self.listener = LocalListener(
            loop, f"scaler-{epoch}-{secrets.token_hex(4)}", pump.eventfd, self._join, self._leave, self._on_said
        )
        # By what their supervisors call them, since a number may mean another process there.
        self.unable: dict[LocalPeer, str] = {}  # the supervisors here, and why no worker of theirs can start
        self._told: dict[str, dict[str, Any]] = {}  # facts of deaths of processes that have not been seen to leave yet
        # Processes that have, and whose facts are waited for -> their tags, and what is known without them.
        self._awaited: dict[str, tuple[int, dict[str, Any]]] = {}

    def _join(self, local_peer: LocalPeer) -> dict[str, Any]:
        request = local_peer.request
        memory = rings_of(local_peer, self._epoch)
        role = request["role"]
        if role == "worker":
            tag = int(request["tag"]) if local_peer.memory >= 0 else 0  # it has outlived another scheduler
            process = local_peer.process  # first, since it fails where there are no descriptors left
            peer = self._pump.add(memory, True, local_peer.doorbell, queue_size=self._queue_size, tag=tag)
            self._stopper.add(peer, peer.running, process, request)
            local_peer.voucher = voucher_of(memory)
        elif role == "client":
            bits, worker_tag = int(request.get("bits", 0)), self._worker_tag_in(request)
            peer = self._pump.add(memory, False, local_peer.doorbell, client_bits=bits, worker_tag=worker_tag)
        elif role == "cluster":
            # It wants to know whether its workers may come here, and to hear when they shall stop.
            self.unable[local_peer] = ""
            return {"slot": 0, "bell": self._bell_name, "epoch": self._epoch, "tag": 0, "memory": self._memory}
        else:
            raise Refused(f"{role!r} is no kind of peer that has rings")
        local_peer.rings = peer
        self._by_peer[peer] = local_peer
        _sparing.info(
            local_peer.pid,
            "%s %s joined over shared memory (process %d)",
            role,
            request.get("name", ""),
            local_peer.pid,
        )
        self._on_change(local_peer, True)
        return {
            "slot": peer.slot, "bell": self._bell_name, "epoch": self._epoch, "tag": peer.tag, "memory": self._memory
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

    def _leave(self, local_peer: LocalPeer) -> None:
        if local_peer.rings is None:
            self.unable.pop(local_peer, None)
            return
        del self._by_peer[local_peer.rings]
        final, answer = self._stopper.find_final(local_peer.rings), self._stopper.remove(local_peer.rings)
        if answer is not None:
            self._pump.answer_for(local_peer.rings, answer)
        left = self._remove(local_peer, final)
        sweep_tag(self._epoch, local_peer.rings.tag, self._memory.folder, left)
        _sparing.info(
            local_peer.pid,
            "%s %s left (process %d)", local_peer.request["role"], local_peer.request.get("name", ""), local_peer.pid,
        )  # fmt: skip
        self._on_change(local_peer, False)

    def _remove(self, local_peer: LocalPeer, final: tuple[int, int] | None) -> list[str]:
        """Tell the core, with what is known if a worker has died. The supervisor may have told, or will in a moment."""
        peer = local_peer.rings
        if not peer.is_worker:
            return self._pump.remove(peer)
        told = self._told.pop(local_peer.key, None)
        about: dict[str, Any] = {
            "worker": local_peer.request.get("name", ""),
            "host": self._host,
            "pid": local_peer.pid,
        }
        if final is not None and self._pump.core.on_final_run(peer.index, *final):
            about["final"] = True
        left = self._pump.remove(peer, pack_facts({**about, **(told or {})}), told is None)
        self._awaited = {key: known for key, known in self._awaited.items() if self._pump.core.awaits_death(known[0])}
        if self._pump.core.awaits_death(peer.tag):
            self._awaited[local_peer.key] = peer.tag, about
        return left

    def _on_said(self, local_peer: LocalPeer, message: dict[str, Any]) -> bool:
        """A supervisor has something to say: how a worker of its has died, or that none can start. False if it is
        nothing of that kind.
        """
        if local_peer in self.unable and isinstance(why := message.get("unable"), str):
            self.unable[local_peer] = why
            return True
        facts, key = facts_from(message.get("died")), message.get("process")
        if local_peer.request["role"] != "cluster" or not facts or not isinstance(key, str):
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
        for local_peer in self.listener.peers:
            if local_peer.accepted and local_peer.request["role"] == "cluster":
                self.listener.tell(local_peer, message)

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
            local_peer = self._by_peer.get(peer)
            if local_peer is None:
                continue  # it has left meanwhile
            _sparing.error(
                local_peer.pid,
                "%s %s (process %d) wrote a record that makes no sense: it is shut out",
                local_peer.request["role"], local_peer.request.get("name", ""), local_peer.pid,
            )  # fmt: skip
            self.listener.dismiss(local_peer)
            if peer.is_worker:
                self._tell_clusters({"shut_out": local_peer.key})

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.listener.close()
        self._stopper.close()
