"""How records and frames name objects: by ids, and by places, which say where on this host an object's bytes lie.

Not here: what a place looks like in a payload (native/records/place.pyx).
"""

from collections.abc import Iterable

from scaler._native import PLACE_NEW, split_places

Place = tuple[int, int, int, int, int]  # object, segment, offset, size, flags


def new_objects(payload: bytes) -> Iterable[Place]:
    """The places of objects that this payload brings with it."""
    return (place for place in split_places(payload)[0] if place[4] & PLACE_NEW)


def pack_ids(ids: Iterable[int]) -> bytes:
    """Object ids as a record of rings carries them: 8 bytes each."""
    return b"".join(one.to_bytes(8, "little") for one in ids)


def unpack_ids(payload: bytes) -> list[int]:
    """The ids of a record that `pack_ids` or the core has packed."""
    ids: list[int] = memoryview(payload).cast("Q").tolist()
    return ids
