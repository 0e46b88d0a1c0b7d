"""Is what a frame says possible? One function per body; those not named here can't be wrong by themselves.

A check here needs nothing but the body. Rows of a Selection, of Functions and of a Heartbeat are checked where they are
taken apart (frames), those of Tasks and Results in native/wire/columns.pyx, which also knows how many peers there are.

Not here: whether a task, a session or a peer is known.
"""

from collections.abc import Callable
from typing import Any

from scaler.address import Endpoint
from scaler.exceptions import AddressError
from scaler.protocol.bounds import (
    MOST_ADDRESS_BYTES,
    MOST_CHUNK_BYTES,
    MOST_CLAIMED,
    MOST_FACTS_LENGTH,
    MOST_IDENTITY_BYTES,
    MOST_OBJECT_BYTES,
    MOST_TEXT_LENGTH,
    SESSION_BYTES,
    TOKEN_BYTES,
    VOUCHER_BYTES,
)
from scaler.protocol.frames import (
    CLIENT_BITS,
    Body,
    Chunk,
    Goodbye,
    Hello,
    Joined,
    Left,
    Offer,
    Refusal,
    Role,
    Serves,
    ShutdownAnswer,
    Unable,
    Welcome,
)


def find_error(body: Body) -> str | None:
    """What is wrong with a body, as a sentence, or None."""
    check = _CHECKS.get(type(body))
    return check(body) if check else None


def _hello(hello: Hello) -> str | None:
    if hello.role not in (Role.CLIENT, Role.CLUSTER):
        return f"hello: role {hello.role} is neither a client nor a cluster"
    if hello.client_bits >> CLIENT_BITS or (hello.role == Role.CLUSTER and hello.client_bits):
        return f"hello: client bits {hello.client_bits:#x} are not {CLIENT_BITS} bits of a client"
    if not 1 <= len(hello.identity) <= MOST_IDENTITY_BYTES:
        return f"hello: an identity has 1 to {MOST_IDENTITY_BYTES} bytes, not {len(hello.identity)}"
    if len(hello.session) not in (0, SESSION_BYTES):
        return f"hello: a session's token has {SESSION_BYTES} bytes, not {len(hello.session)}"
    if hello.received and not hello.session:
        return "hello: numbers were received, but no session is named"
    if len(hello.voucher) not in (0, VOUCHER_BYTES):
        return f"hello: a voucher has {VOUCHER_BYTES} bytes, not {len(hello.voucher)}"
    return _long_text("hello", hello.host_name, hello.cluster_name) or _long_text("hello", *hello.worker_names)


def _welcome(welcome: Welcome) -> str | None:
    if len(welcome.session) != SESSION_BYTES:
        return f"welcome: a session's token has {SESSION_BYTES} bytes, not {len(welcome.session)}"
    if welcome.received and not welcome.resumed:
        return "welcome: numbers were received in a session that is new"
    if not welcome.epoch or not welcome.heartbeat_ms:
        return "welcome: the scheduler's epoch and its heartbeat interval are not 0"
    if len(welcome.local_address.encode()) > MOST_ADDRESS_BYTES:
        return "welcome: the address for co-location is longer than an AF_UNIX address may be"
    return _long_text("welcome", welcome.monitor)


def _refusal(refusal: Refusal) -> str | None:
    return _reason(refusal) if refusal.reason else "refusal: it gives no reason"


def _reason(body: Refusal | Goodbye | ShutdownAnswer | Unable) -> str | None:
    return _long_text(type(body).__name__.lower(), body.reason)


def _joined(joined: Joined) -> str | None:
    if len(joined.voucher) not in (0, VOUCHER_BYTES):
        return f"joined: a voucher has {VOUCHER_BYTES} bytes, not {len(joined.voucher)}"
    return _long_text("joined", joined.name)


def _left(left: Left) -> str | None:
    if len(left.reason) > MOST_FACTS_LENGTH:
        return f"left: what is told of a death has more than {MOST_FACTS_LENGTH} characters"
    if len(left.tasks) > 8 * MOST_CLAIMED:
        return f"left: more than {MOST_CLAIMED} tasks that a worker had begun"
    return None


def _chunk(chunk: Chunk) -> str | None:
    if not 1 <= len(chunk.data) <= MOST_CHUNK_BYTES:
        return f"chunk: it has 1 to {MOST_CHUNK_BYTES} bytes, not {len(chunk.data)}"
    if chunk.total_bytes > MOST_OBJECT_BYTES:
        return f"chunk: {chunk.total_bytes} bytes are more than an object may have"
    if chunk.offset + len(chunk.data) > chunk.total_bytes:
        return f"chunk: bytes {chunk.offset} to {chunk.offset + len(chunk.data)} of {chunk.total_bytes}"
    return None


def _offer(offer: Offer) -> str | None:
    if not 0 < offer.total_bytes <= MOST_OBJECT_BYTES:
        return f"offer: an object of {offer.total_bytes} bytes"
    if len(offer.token) not in (0, TOKEN_BYTES) or len(offer.source_token) not in (0, TOKEN_BYTES):
        return f"offer: a token has {TOKEN_BYTES} bytes"
    return _place("offer", offer.source)


def _serves(serves: Serves) -> str | None:
    if len(serves.key) != TOKEN_BYTES:
        return f"serves: a key has {TOKEN_BYTES} bytes, not {len(serves.key)}"
    return _place("serves", serves.address)


def _place(where: str, text: str) -> str | None:
    """A host and port where objects can be had, or nothing."""
    if text:
        try:
            Endpoint.parse(text)
        except AddressError as error:
            return f"{where}: {error}"
    return None


def _long_text(where: str, *texts: str) -> str | None:
    if any(len(text) > MOST_TEXT_LENGTH for text in texts):
        return f"{where}: a text has more than {MOST_TEXT_LENGTH} characters"
    return None


_CHECKS: dict[type[Body], Callable[[Any], str | None]] = {
    Hello: _hello,
    Welcome: _welcome,
    Refusal: _refusal,
    Goodbye: _reason,
    ShutdownAnswer: _reason,
    Unable: _reason,
    Joined: _joined,
    Left: _left,
    Chunk: _chunk,
    Offer: _offer,
    Serves: _serves,
}
