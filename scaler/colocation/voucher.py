"""Voucher: by which the client of a worker's tasks is known: only processes that have that worker's rings can say it.

What tasks submit has privileges: it is not held up when there is too much of it, since what waits for it holds a
worker, and it has the turns of those in whose name its task runs. So no client is to have them for merely saying so.
The worker's segment has a nonce, which nobody else has seen. Its client says a hash of that, and so does the relay that
was handed those rings; a scheduler that was handed them itself makes it of them, too. A hash, since the nonce gives
access to those rings, and what goes over the wire, and into the scheduler's memory, must not.

Not here: where it is asked for (scheduler.pump_peers, session.remote_peers).
"""

from hashlib import blake2b

from scaler._native import Segment, nonce_of

VOUCHER_BYTES = 16  # as in scaler.protocol.bounds, which workers do not import


def voucher_of(memory: Segment) -> bytes:
    """The word for the worker whose rings these are."""
    return blake2b(nonce_of(memory), digest_size=VOUCHER_BYTES, person=b"voucher").digest()
