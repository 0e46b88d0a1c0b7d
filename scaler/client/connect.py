"""Connect: from an address to rings, be it the scheduler that holds their other end or a relay in this process.

This loads ZeroMQ and the schemas, so importing a client does not load it before one connects.
"""

import logging
import os
import secrets
from collections.abc import Callable

from scaler.client.sizes import CLIENT_BITS, RING_BYTES
from scaler.colocation.handshake import LocalConnection, NotCoLocated, Refused, handshake
from scaler.exceptions import DisconnectedError
from scaler.protocol.frames import Hello, Role
from scaler.session.client_relay import ClientRelay
from scaler.session.dealer import greet, new_hello

_log = logging.getLogger(__name__)


def connect(
    address: str,
    identity: bytes,
    timeout_s: float,
    *,
    known_bits: int = 0,
    is_stopped: Callable[[], bool] = lambda: False,
    children_bytes: int = 0,
    voucher: bytes = b"",
    keys: str | None = None,
) -> tuple[LocalConnection | ClientRelay, int]:
    """Rings to the scheduler at `address`, and the bits that this client's task ids begin with.

    These are `known_bits`, if it has any: then a scheduler was there before. With `children_bytes` it is the client of
    the tasks that run in one worker of another host, which has this `voucher`. `keys` is a folder of keys.
    SchedulerTimeoutError if there is no answer in time, RefusedError if the scheduler does not want it or something
    else listens there, ValueError if the address is none or names no host, KeysError if the keys cannot be read.
    """
    hello = Hello()

    def make_hello() -> Hello:  # anew each time: the bits may be in use
        nonlocal hello
        bits = known_bits or secrets.randbits(CLIENT_BITS) or 1
        hello = new_hello(Role.CLIENT, identity, client_bits=bits, voucher=voucher)
        return hello

    dealer, welcome = greet(address, make_hello, timeout_s, is_stopped, is_name_known=bool(known_bits), keys=keys)
    bits, name = hello.client_bits, identity.hex()[:8]
    try:
        if children_bytes:
            raise NotCoLocated("its worker is elsewhere")
        entry = handshake(welcome.local_address, f"{welcome.epoch:016x}", "client", RING_BYTES, bits=bits, name=name)
    except (NotCoLocated, Refused, DisconnectedError) as reason:
        _log.info("client %s (process %d) goes over the wire to %s: %s", name, os.getpid(), address, reason)
        relay = ClientRelay(
            address,
            dealer,
            hello,
            welcome,
            ring_bytes=RING_BYTES,
            children_bytes=children_bytes,
            timeout_s=timeout_s,
            keys=keys,
        )
        return relay, bits
    except BaseException:
        dealer.close()
        raise
    dealer.leave()
    return entry, bits
