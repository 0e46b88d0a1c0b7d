"""ClientRelay: what a client has that shares no memory with its scheduler: rings to a relay in its own process.

It offers what colocation.handshake.LocalConnection offers, so a client cannot tell the one from the other.

Not here: what the relay says (client_at_relay), the thread (relay_thread).
"""

import os
import secrets
import socket
from collections.abc import Callable

from scaler._native import Mappings, Relay, Segment, Store, lay_out_peer, peer_segment_bytes
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.handshake import CONTROL_RING_BYTES
from scaler.colocation.memory import object_memory
from scaler.colocation.names import BellPage, make_segment, new_epoch, segment_name, sweep, sweep_orphans, warn_of_files
from scaler.objects.relay_transport import open_transport
from scaler.protocol.frames import Hello, Welcome
from scaler.session.client_at_relay import ClientAtRelay
from scaler.session.dealer import Dealer
from scaler.session.relay_thread import RelayThread

RELAY_TAG = (1 << 24) - 1  # of the relay's own store, beside that of the client; a client's bits may be anything else


class ClientRelay:
    """Both ends of the client's rings are in this process; `close` says goodbye and leaves nothing behind."""

    def __init__(
        self,
        address: str,
        dealer: Dealer,
        hello: Hello,
        welcome: Welcome,
        *,
        ring_bytes: int,
        children_bytes: int,
        timeout_s: float,
        keys: str | None = None,
    ) -> None:
        self.epoch = new_epoch()
        self.tag = hello.client_bits
        self.folder, self.most_bytes = object_memory(None, 0)
        self.farewell: str | None = None  # why the scheduler wants no more of this client
        self.lost_s: float | None = None  # when the connection broke that could not be mended
        self.scheduler_epoch = f"{welcome.epoch:016x}"
        sweep_orphans()  # where no scheduler ever starts, nobody else does
        self._page = BellPage(self.epoch)
        self.bell = self._page.memory
        segment_bytes = peer_segment_bytes(ring_bytes, CONTROL_RING_BYTES, children_bytes)
        self.memory = make_segment(segment_name(self.epoch), segment_bytes)
        Segment.unlink(self.memory.name)  # nobody else is to find it
        lay_out_peer(self.memory, secrets.token_bytes(16), ring_bytes, CONTROL_RING_BYTES, children_bytes)
        self.doorbell = new_doorbell()
        self.bell_eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._near, self._far = socket.socketpair()
        relay = self._relay = Relay(self.bell, self.bell_eventfd, True)
        peer = relay.add(self.memory, self.doorbell)
        self.slot: int = peer.slot
        self._store = Store(self.epoch, RELAY_TAG, self.folder, warn_of_files, self.most_bytes)
        mappings = Mappings(self.epoch, self.folder)
        name = hello.identity.hex()[:8]
        side = self._side = ClientAtRelay(relay, self._store, mappings, hello.client_bits, peer, name, os.getpid())
        side.scheduler_minor = welcome.minor
        self._thread = RelayThread(
            address, dealer, hello, welcome, side, timeout_s=timeout_s, on_over=self._on_over, keys=keys
        )
        side.use(
            open_transport(address, welcome, self._store, self._thread.call, listens=False, is_sealed=dealer.is_sealed)
        )
        self._thread.start()

    @property
    def lifeline(self) -> int:
        """A descriptor that hangs up when the session is over."""
        return self._near.fileno()

    def _on_over(self, reason: str) -> None:
        self.farewell, self.lost_s = self._side.over, self._thread.lost_s
        self._far.close()

    def deliver_rest(self, look: Callable[[], None]) -> None:
        """Once the session is over: hand over what did not fit into the client's ring, with `look` emptying it."""
        self._thread.join()
        while self._relay.has_pending:
            self._relay.run(True)
            look()

    def abandon(self) -> None:
        """In a forked child: let go of this copy. The thread is the parent's."""
        self._near.close()
        self._far.close()

    def close(self) -> None:
        """End the session; idempotent."""
        if self._near.fileno() < 0:
            return
        self._thread.stop()
        self._near.close()
        self._thread.give_up(self._give_up)

    def _give_up(self) -> None:
        """Nobody rings these bells any more, nor looks at these rings."""
        self._far.close()
        self._page.close()
        sweep(self.epoch)
        os.close(self.doorbell)
        os.close(self.bell_eventfd)
