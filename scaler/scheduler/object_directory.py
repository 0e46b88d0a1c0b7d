"""ObjectDirectory: which hosts have which objects, and can be asked for them.

The scheduler's host has them all; another that has fetched one can give it too, so that what many need leaves each host
but a few times. The core knows who holds an object; this is only about where copies lie.

Rule 1: what is said here is a hint: who is sent to a host that has nothing any more asks the scheduler's.
"""

from collections import Counter
from typing import NamedTuple

from scaler.link.object_stream import token_for


class Host(NamedTuple):
    """A host's port for objects, and the key of its tokens. Without an address nobody can get there."""

    key: bytes
    address: str


class ObjectDirectory:
    """Hosts by object, and how many transfers each is asked for just now."""

    def __init__(self) -> None:
        self._hosts: dict[int, set[Host]] = {}
        self._load: Counter[Host | None] = Counter()  # None: the scheduler's own

    def note(self, object_id: int, host: Host) -> None:
        """The host has the object now."""
        if host.address:
            self._hosts.setdefault(object_id, set()).add(host)

    def choose(self, object_id: int) -> Host | None:
        """Who is to give the object to one more: whoever has the least to do, best the scheduler's host (None)."""
        candidates = [None, *sorted(self._hosts.get(object_id, ()))]
        chosen = min(candidates, key=lambda host: self._load[host])
        self._load[chosen] += 1
        return chosen

    def on_given(self, host: Host | None) -> None:
        """A transfer that was chosen is over."""
        self._load[host] -= 1
        if not self._load[host]:
            del self._load[host]

    def on_gone(self, objects: list[int]) -> None:
        """Nobody holds these any more."""
        for object_id in objects:
            self._hosts.pop(object_id, None)

    def on_left(self, host: Host) -> None:
        """The host has gone."""
        for object_id in [object_id for object_id, hosts in self._hosts.items() if host in hosts]:
            self._hosts[object_id].discard(host)
            if not self._hosts[object_id]:
                del self._hosts[object_id]

    def __len__(self) -> int:
        return len(self._hosts)


def source_of(host: Host | None, object_id: int) -> tuple[str, bytes]:
    """What an offer says of where else the object is."""
    return ("", b"") if host is None else (host.address, token_for(host.key, object_id))
