"""ObjectDirectory: which hosts have which objects, and can be asked for them.

The scheduler's host has them all. One that has fetched an object, or whose worker has made it, can give it too, so that
what many need leaves each host but a few times. The core knows which tasks hold an object; this is about where copies
lie.

Rule 1: what is said here is a hint: a host that was sent to one that has the object no more asks the scheduler's.
"""

from collections import Counter
from typing import NamedTuple

from scaler.objects.sealed import key_between
from scaler.objects.stream import token_for


class Host(NamedTuple):
    """A host's port for objects, and the key of its tokens. Without an address nobody can get there.

    `seal` is what the keys of sealed connections to there are made from.
    """

    key: bytes
    address: str
    seal: bytes = b""


class Source(NamedTuple):
    """A host that has an object; `result_id`: under what id one of its workers has made it, 0 if it has fetched it."""

    host: Host
    result_id: int = 0

    def token(self, object_id: int) -> bytes:
        """What to show there to get the object."""
        return token_for(self.host.key, self.result_id or object_id, is_result=bool(self.result_id))

    def key_for(self, number: int) -> bytes:
        """What the host of this number has in common with it; nothing if connections to there are not sealed."""
        return key_between(self.host.seal, number) if self.host.seal else b""


class ObjectDirectory:
    """Sources by object, and how many transfers each host is asked for just now."""

    def __init__(self) -> None:
        self._sources: dict[int, dict[Host, Source]] = {}
        self._load: Counter[Host | None] = Counter()  # None: the scheduler's own

    def note(self, object_id: int, source: Source) -> None:
        """The host has the object now."""
        if source.host.address:
            self._sources.setdefault(object_id, {}).setdefault(source.host, source)

    def choose(self, object_id: int) -> Source | None:
        """The host that is to give the object to one more: that with the least to do, best the scheduler's (None)."""
        candidates = [None, *sorted(self._sources.get(object_id, {}).values())]
        chosen = min(candidates, key=lambda source: self._load[_host_of(source)])
        self._load[_host_of(chosen)] += 1
        return chosen

    def on_given(self, source: Source | None) -> None:
        """A transfer that was chosen is over."""
        host = _host_of(source)
        self._load[host] -= 1
        if not self._load[host]:
            del self._load[host]

    def on_gone(self, objects: list[int]) -> None:
        """Nobody holds these any more."""
        for object_id in objects:
            self._sources.pop(object_id, None)

    def on_left(self, host: Host) -> None:
        """The host has gone."""
        for object_id in [object_id for object_id, sources in self._sources.items() if host in sources]:
            del self._sources[object_id][host]
            if not self._sources[object_id]:
                del self._sources[object_id]

    def __len__(self) -> int:
        return len(self._sources)


def _host_of(source: Source | None) -> Host | None:
    return None if source is None else source.host
