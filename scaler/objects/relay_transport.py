"""RelayTransport: the relay's end of large objects' way: it connects to the scheduler's port, or to another host's.

What it has fetched it serves at a port of its own, if it has one, until nobody holds that any more.

Not here: chunks, which are what is left when that does not work (incoming, outgoing).
"""

import logging
import secrets
import socket
from collections.abc import Callable

from scaler._native import Store
from scaler.address import Address, Endpoint
from scaler.exceptions import AddressError
from scaler.objects.arrival import Arrival
from scaler.objects.dialer import Giver, ObjectDialer
from scaler.objects.port import ObjectPort
from scaler.objects.sealed import Seal
from scaler.objects.stream import token_for
from scaler.protocol.frames import Offer, Serves, Welcome

_log = logging.getLogger(__name__)


class RelayTransport:
    """`store` is where objects arrive; `port` is where others may fetch them from here."""

    def __init__(self, dialer: ObjectDialer, store: Store, port: ObjectPort | None, host: str = "") -> None:
        self._dialer, self._store, self._port, self._host = dialer, store, port, host
        self._key = secrets.token_bytes(16) if port is None else port.key
        self._served: set[int] = set()

    def serves(self) -> Serves:
        """What to tell the scheduler at the beginning of a session."""
        if self._port is None:
            return Serves(self._key)
        return Serves(self._key, str(Endpoint(self._host, self._port.port)), self._port.seal)

    @property
    def is_usable(self) -> bool:
        return self._dialer.is_usable

    def offer(self, object_id: int, view: memoryview, done: Callable[[bool], None]) -> Offer:
        self._dialer.bring(view, token_for(self._key, object_id), done)
        return Offer(object_id, view.nbytes)

    def on_fetched(self, object_id: int, is_there: bool) -> None:
        """The scheduler fetches nothing itself."""

    def expect(self, offer: Offer, arrival: Arrival, done: Callable[[bool], None]) -> None:
        if not arrival.here:
            done(True)  # there is no room for it: no need to try
            return
        givers = [self._dialer.giver(offer.token)]
        if offer.source:
            givers.insert(0, Giver(Endpoint.parse(offer.source), offer.source_token, offer.source_key))
        elif not self.is_usable:
            done(False)
            return

        def fetched(ok: bool) -> None:
            if ok and self._port is not None and offer.object in self._store:
                self._served.add(offer.object)
                self._port.serve(offer.object, self._store.open(arrival.here))
            done(ok)

        self._dialer.fetch(arrival, givers, fetched)

    def forget_offered(self, object_id: int) -> None:
        """It goes on its way: the scheduler takes it or not."""

    def forget_expected(self, object_id: int) -> None:
        """Nobody holds it any more, or its record has come."""
        if object_id in self._served and self._port is not None:
            self._served.remove(object_id)
            self._port.withdraw(object_id)

    def serve_result(self, object_id: int, view: memoryview) -> None:
        """Others may fetch what a worker here has made under this id."""
        if self._port is not None:
            self._port.serve(object_id, view, is_result=True)

    def withdraw_result(self, object_id: int) -> None:
        if self._port is not None:
            self._port.withdraw(object_id, is_result=True)

    def close(self) -> None:
        self._dialer.close()
        if self._port is not None:
            self._port.close()


def open_transport(
    address: str,
    welcome: Welcome,
    store: Store,
    call: Callable[[Callable[[], None]], None],
    *,
    listens: bool,
    is_sealed: bool = False,
) -> RelayTransport | None:
    """What a relay of the scheduler at this address has; None if the scheduler has no port for objects.

    Where the session `is_sealed`, so are the connections, or there are none.
    """
    where, objects_port = Address.parse(address), welcome.objects_port
    if not objects_port or where.is_ipc or (is_sealed and not welcome.objects_key):
        return None
    seal = Seal(welcome.objects_number, welcome.objects_key) if welcome.objects_key else None
    dialer = ObjectDialer(Endpoint(where.host, objects_port), call, seal)
    if not listens:
        return RelayTransport(dialer, store, None)
    try:
        host = _own_address(where.host, objects_port)
        Endpoint.parse(
            str(Endpoint(host, objects_port))
        )  # as others will read it: a link-local one means nothing to them
        return RelayTransport(dialer, store, ObjectPort(host, is_sealed=seal is not None), host)
    except (OSError, AddressError) as error:
        _log.warning("other hosts cannot fetch objects from here: %s", error)
        return RelayTransport(dialer, store, None)


def _own_address(host: str, port: int) -> str:
    """The address of the interface by which this host reaches that one: nothing is sent for this."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(place)
        return str(probe.getsockname()[0])
