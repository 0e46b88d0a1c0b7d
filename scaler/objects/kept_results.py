"""KeptResults: what workers of this host have made and the scheduler has got, and that stays here for tasks to come.

A large result goes to the scheduler's host, so that it outlives this one. Its maker keeps it until the scheduler has
said what is to become of it: it may go, or other tasks need it. Then it gets the name that it has everywhere else, and
neither comes back to this host, nor has to go to others from the scheduler's.

Rule 1: a maker's memory is its own again only after FREED, which is said once for each object, to a worker that is
        there. What one that has gone has left is unlinked with the last object in it. Of what was made for a scheduler
        before, tasks may have kept views of which nobody is told: its maker gives no such slot out again, and FREED
        merely lets it remove the segment.
Rule 2: what has not been heard of when the scheduler dies is sent again to the next one.
Not here: what is fetched from elsewhere (incoming), the port for other hosts (relay_transport).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from scaler._native import Loan, Mappings, RecordCopy, Segment, area_name
from scaler.colocation.names import sweep_tag
from scaler.objects.naming import Place, new_objects
from scaler.objects.relay_transport import RelayTransport
from scaler.objects.transport import LEAST_OFFERED_BYTES


class _Made(NamedTuple):
    """One object where its maker has put it, and the result that brought it."""

    number: int  # of the worker
    place: Place
    record: RecordCopy
    loan: Loan | None  # while others may fetch it from here


class KeptResults:
    """`tell_freed(number, ids)` tells a worker, if it is there, that it may use the memory of its objects again."""

    def __init__(
        self, epoch: str, folder: str, mappings: Mappings, tell_freed: Callable[[int, Iterable[int]], None]
    ) -> None:
        self._epoch, self._folder, self._mappings, self._tell_freed = epoch, folder, mappings, tell_freed
        self.transport: RelayTransport | None = None  # serves the large ones to other hosts
        self._unheard: dict[int, _Made] = {}  # sent, by the maker's ids
        self._named: dict[int, _Made] = {}  # by what they are called everywhere
        self._outdated: list[_Made] = []  # of schedulers that are gone; tasks of these may still look at them
        self._left: Counter[int] = Counter()  # segments of workers that have gone: how many objects are in them

    def __len__(self) -> int:
        return len(self._unheard) + len(self._named) + len(self._outdated)

    def on_sent(self, number: int, record: RecordCopy) -> None:
        """The scheduler has the result of this worker, or will. All that it brings is the worker's own (relay.py)."""
        for place in new_objects(record.payload):
            self._unheard[place[0]] = _Made(number, place, record, self._serve(place))

    def _serve(self, place: Place) -> Loan | None:
        """Let others fetch this, if it is large."""
        if self.transport is None or place[3] < LEAST_OFFERED_BYTES:
            return None
        loan = self._mappings.lend_at(place, False)
        try:
            view = memoryview(loan.open(False))
        except (OSError, ValueError):
            return None  # they get it from the scheduler's host
        self.transport.serve_result(place[0], view)
        return loan

    def on_taken(self, number: int, object_id: int, name: int) -> None:
        """What the scheduler says of an object of this worker. One that is not known means nothing: it is late."""
        made = self._unheard.get(object_id)
        if made is None or made.number != number:
            return
        del self._unheard[object_id]
        if name and name not in self._named:
            self._named[name] = made
        else:
            self._free(made)

    def find(self, name: int) -> Place | None:
        """Where this lies, if a worker of this host has made it."""
        made = self._named.get(name)
        return None if made is None else made.place

    def forget(self, name: int) -> bool:
        """Nobody holds it any more. False if it is none of these."""
        made = self._named.pop(name, None)
        if made is not None:
            self._free(made)
        return made is not None

    def _free(self, made: _Made) -> None:
        object_id, segment = made.place[:2]
        if made.loan is not None and self.transport is not None:
            self.transport.withdraw_result(object_id)
        self._tell_freed(made.number, [object_id])
        if segment in self._left:
            self._left[segment] -= 1
            if not self._left[segment]:
                del self._left[segment]
                Segment.unlink(area_name(self._epoch, self._folder, segment))

    def on_left(self, number: int, tag: int) -> None:
        """A worker has gone, whose store has this tag: what is not here of it is removed."""
        segments = Counter(made.place[1] for made in self._all() if made.number == number)
        self._left.update(segments)
        names = [area_name(self._epoch, self._folder, segment) for segment in segments]
        sweep_tag(self._epoch, tag, self._folder, names)

    def _all(self) -> Iterable[_Made]:
        return (*self._unheard.values(), *self._named.values(), *self._outdated)

    # another scheduler

    def take_over(self, before: "KeptResults", present: set[int]) -> list[tuple[int, RecordCopy]]:
        """Go on with what was kept for a scheduler that is gone, which has closed its transport.

        The results, with their workers' numbers, that are to be sent again: those of workers that are `present`.
        """
        self._left = before._left
        again = {}
        for made in before._unheard.values():
            if made.number in present:
                again[made.record.task, made.record.attempt] = made.number, made.record
            else:
                self._free(made)
        self._outdated = [*before._outdated, *before._named.values()]
        return list(again.values())

    def free_outdated(self) -> None:
        """Nobody looks at what was made for a scheduler before any more."""
        while self._outdated:
            self._free(self._outdated.pop())
