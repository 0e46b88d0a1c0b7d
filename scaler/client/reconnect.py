"""Reconnect: how a client goes on when its scheduler has died and another one listens at the same address.

What is open stays open. A thread looks for the scheduler, hands in new rings under the client's old number, and has
all that has no answer said again (native/client/resend.pyx). It looks for ever while no call needs a
scheduler, and up to the client's time-out while one does; then everything that is open fails with one clear error.

A scheduler that was stopped for good (by its creator, or by a client's `shutdown`) says so, and is not waited for. One
that was stopped by a signal is: that is how a scheduler is restarted.

Rule 1: it holds no reference to the client, so that a forgotten client can go.
Rule 2: the rings' memory outlives the scheduler, so nothing that was in them is lost: it is read first.
Not here: what is said again (native/client/resend.pyx), what the scheduler makes of it (the core).
"""

import logging
import threading
import time
from typing import TYPE_CHECKING

from scaler._native import ClientRings, Store
from scaler.colocation.handshake import LocalConnection
from scaler.exceptions import DisconnectedError, KeysError, RefusedError, SchedulerTimeoutError
from scaler.program.threads import await_ends, new_thread

if TYPE_CHECKING:
    from scaler.session.client_relay import ClientRelay

_log = logging.getLogger(__name__)
FOR_EVER_S = 1e9
PAUSE_S = 0.05  # between two schedulers that don't last
END_S = 1.0


class Reconnect:
    """Owns the client's entry; `on_gone` is called when its lifeline has hung up. Set `rings` before that."""

    rings: ClientRings | None = None

    def __init__(
        self,
        address: str,
        identity: bytes,
        bits: int,
        timeout_s: float,
        entry: "LocalConnection | ClientRelay",
        store: Store,
        keys: str | None = None,
    ) -> None:
        self.entry = entry
        self._address, self._identity, self._bits, self._timeout_s = address, identity, bits, timeout_s
        self._store, self._keys = store, keys
        self._stopping = False
        self._since_s = 0.0  # when the first call began to wait
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # over which entry is to be closed, and by which thread
        self._is_closed = False

    def on_gone(self) -> DisconnectedError | None:
        """The scheduler has gone: an error if that is for good, else another one is looked for from now on."""
        rings = self.rings
        if rings is None or self._stopping:
            return DisconnectedError(f"the scheduler at {self._address} has gone")
        if (farewell := self._farewell(rings)) is not None:
            return farewell
        _log.warning("the scheduler at %s has gone: looking for one there", self._address)
        self._since_s = self.entry.lost_s or time.monotonic()
        self._thread = new_thread(
            "scaler-reconnect", lambda: self._search(rings), lambda error: self._give_up(rings, error)
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            return DisconnectedError(f"the scheduler at {self._address} has gone, and no other is looked for: {error}")
        return None

    def _search(self, rings: ClientRings) -> None:
        try:
            self.entry.deliver_rest(rings.look)
            while not self._stopping and not self._go_over(rings):
                time.sleep(PAUSE_S)
        except SchedulerTimeoutError:
            rings.give_up(
                DisconnectedError(
                    f"the scheduler at {self._address} has gone, and there was none for {self._timeout_s} s: start one "
                    "there, make a new Client and submit again"
                )
            )
        except (RefusedError, KeysError) as error:
            rings.give_up(DisconnectedError(f"the scheduler at {self._address} has gone, and the next one: {error}"))

    def _give_up(self, rings: ClientRings, error: BaseException) -> None:
        rings.give_up(DisconnectedError(f"the scheduler at {self._address} has gone, and going on failed: {error}"))

    def _go_over(self, rings: ClientRings) -> bool:
        """Find a scheduler and say all that is open. False if it has gone again meanwhile."""
        from scaler.client.connect import connect

        entry, _ = connect(
            self._address,
            self._identity,
            FOR_EVER_S,
            known_bits=self._bits,
            is_stopped=lambda: self._is_over(rings),
            keys=self._keys,
        )
        with self._lock:
            is_late = self._stopping or self._is_closed
            if not is_late:
                old, self.entry = self.entry, entry
        if is_late:
            entry.close()
            return True
        self._store.begin_epoch(entry.epoch, entry.folder, entry.most_bytes)
        rings.attach(
            entry.memory, entry.doorbell, entry.bell, entry.slot, entry.bell_eventfd, entry.lifeline, entry.epoch,
            entry.folder,
        )  # fmt: skip
        old.close()
        if not rings.resend():
            self.entry.deliver_rest(rings.look)
            if (farewell := self._farewell(rings)) is not None:
                rings.give_up(farewell)
                return True
            return False
        _log.warning("the scheduler at %s is back: %d tasks go on", self._address, rings.open_tasks)
        return True

    def _farewell(self, rings: ClientRings) -> DisconnectedError | None:
        """What every open call is to raise, if the scheduler has said that it goes for good."""
        said = rings.connection.farewell
        farewell = said.decode() if said is not None else self.entry.farewell
        return None if farewell is None else DisconnectedError(f"the scheduler at {self._address} has gone: {farewell}")

    def _is_over(self, rings: ClientRings) -> bool:
        """Whether it is time to stop looking."""
        now_s = time.monotonic()
        if not rings.needs_scheduler:
            self._since_s = now_s
        return self._stopping or now_s - self._since_s > self._timeout_s

    def stop(self) -> None:
        """Look for no other scheduler. Idempotent."""
        self._stopping = True
        self.rings = None

    def close(self) -> None:
        """Hang up, when nobody uses the rings any more."""
        if self._thread is not None:
            await_ends([self._thread], END_S)  # one that goes on closes what it finds by then
        with self._lock:
            self._is_closed = True
        self.entry.close()
