"""Bodies about objects: on their way, in chunks or by connections of their own, and what becomes of them.

The same file of the schema is protocol/object.capnp; each class has the field names of a struct there. `find_error`
says what cannot be, as far as that needs no knowledge of the session.

Not here: the other bodies (session, batch), Cap'n Proto (codec), numbering (session.ledger).
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

from scaler.address import Endpoint
from scaler.exceptions import AddressError
from scaler.protocol.bounds import MOST_CHUNK_BYTES, MOST_OBJECT_BYTES, SEAL_BYTES, TOKEN_BYTES
from scaler.protocol.frames.columns import ALL, column, ids_column, row_count, three_columns, three_values, values


class Chunk(NamedTuple):
    """A part of an object."""

    object: int = 0
    offset: int = 0
    total_bytes: int = 0
    data: bytes = b""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if not 1 <= len(self.data) <= MOST_CHUNK_BYTES:
            return f"chunk: it has 1 to {MOST_CHUNK_BYTES} bytes, not {len(self.data)}"
        if self.total_bytes > MOST_OBJECT_BYTES:
            return f"chunk: {self.total_bytes} bytes are more than an object may have"
        if self.offset + len(self.data) > self.total_bytes:
            return f"chunk: bytes {self.offset} to {self.offset + len(self.data)} of {self.total_bytes}"
        return None


class Offer(NamedTuple):
    """An object that goes over a connection of its own; from the scheduler also where to fetch it."""

    object: int = 0
    total_bytes: int = 0
    token: bytes = b""
    source: str = ""
    source_token: bytes = b""
    source_key: bytes = b""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if not 0 < self.total_bytes <= MOST_OBJECT_BYTES:
            return f"offer: an object of {self.total_bytes} bytes"
        if len(self.token) not in (0, TOKEN_BYTES) or len(self.source_token) not in (0, TOKEN_BYTES):
            return f"offer: a token has {TOKEN_BYTES} bytes"
        if len(self.source_key) not in (0, SEAL_BYTES):
            return f"offer: a key has {SEAL_BYTES} bytes, not {len(self.source_key)}"
        return _place("offer", self.source)


class Fetched(NamedTuple):
    """What became of an offer: whether the object is there now."""

    object: int = 0
    is_there: bool = False


class Serves(NamedTuple):
    """This side takes part: the key of its tokens, and where others may fetch what it has, if they can get there.

    `seal` is what the keys of sealed connections to there are made from.
    """

    key: bytes = b""
    address: str = ""
    seal: bytes = b""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if len(self.key) != TOKEN_BYTES:
            return f"serves: a key has {TOKEN_BYTES} bytes, not {len(self.key)}"
        if len(self.seal) not in (0, SEAL_BYTES):
            return f"serves: a seal has {SEAL_BYTES} bytes, not {len(self.seal)}"
        return _place("serves", self.address)


class Objects(NamedTuple):
    """Objects by name. What becomes of them is said by the subclass."""

    peers: bytes = b""
    objects: bytes = b""

    @classmethod
    def of(cls, objects: Iterable[int], peer: int = 0) -> Self:
        """The columns of at least one object, all of one peer."""
        ids = list(objects)
        return cls(column("I", [peer] * len(ids)), ids_column(ids))

    def n_rows(self) -> int:
        """How many rows there are."""
        return row_count("objects", self.objects, 8)

    def rows(self, some: slice = ALL) -> list[tuple[int, int]]:
        """(peer, object) per row; FrameError if the columns don't fit each other."""
        n = self.n_rows()
        peers = values("peers", "I", self.peers, n, some)
        return list(zip(peers, values("objects", "Q", self.objects, n, some), strict=True))


class Release(Objects):
    """The sender holds these no more, each once: as one that was lent them, or as their maker."""

    __slots__ = ()


class Freed(Objects):
    """Nobody holds these any more: their memory may be used again."""

    __slots__ = ()


class Naming(NamedTuple):
    """What became of an object that a worker's result brought: its name from now on, or 0 if it may go."""

    peer: int
    object: int
    name: int


class Taken(NamedTuple):
    """The results that brought these objects have been taken."""

    peers: bytes = b""
    objects: bytes = b""
    names: bytes = b""

    @classmethod
    def of(cls, namings: Iterable[tuple[int, int, int]]) -> Self:
        """The columns of (peer, object, name), at least one."""
        return cls(*three_columns(namings))

    def rows(self) -> list[Naming]:
        """One Naming per row; FrameError if the columns don't fit each other."""
        return [Naming(*row) for row in three_values(*self, ("objects", "names"))]


def _place(where: str, text: str) -> str | None:
    """A host and port where objects can be had, or nothing."""
    if text:
        try:
            Endpoint.parse(text)
        except AddressError as error:
            return f"{where}: {error}"
    return None
