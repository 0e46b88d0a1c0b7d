"""OutgoingObjects: what a session sends from the store here, and what is to be done when the other side has it.

A large object is offered: it goes over a connection of its own (transport). A small one, and one that cannot go that
way, is cut into chunks, which go between the session's other frames.

Rule 1: chunks of one object go in order and without holes.
Not here: frames and their numbers (session.conversation), connections (port, dialer), the receiving side (incoming).
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from scaler.protocol.bounds import CHUNK_BYTES
from scaler.protocol.frames import Chunk

MOST_AHEAD = 1024  # objects that are begun behind the oldest one that has not arrived: incoming.MOST_INCOMPLETE
MOST_OFFERED = 512  # at a time, that the other side has not fetched: what it fetches side by side


@dataclass(eq=False)
class _Transfer:
    """An object on its way to the other side."""

    object: int
    number: int  # counts up
    view: memoryview
    is_offered: bool = False  # and the other side has not answered
    is_over: bool = False
    offset: int = 0  # so much of it went in chunks


@dataclass(eq=False)
class _Plan:
    """What is to be done once some objects have arrived: these, or all that were added before it."""

    what: Callable[[], None]
    brings: Iterable[int]  # objects that nobody may name before this
    missing: int = 0  # objects, and plans that bring some
    before: int = 0  # the number of the first transfer that it need not wait for
    is_done: bool = False
    followers: "list[_Plan]" = field(default_factory=list)


class OutgoingObjects:
    """Objects on their way, by a transport or chunk by chunk, and what is to be done when they have arrived.

    What needs just its own objects waits for no others, so that a small one overtakes a large one. But none is begun
    that is far behind the oldest that is still under way (MOST_AHEAD): else many small ones, each of a record that
    waits for a large one too, would be more than the other side takes.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Transfer] = {}
        self._in_order: deque[_Transfer] = deque()  # as they were added; those that are over go when they are first
        self._chunked: deque[_Transfer] = deque()
        self._plans: deque[_Plan] = deque()
        self._waiting: dict[int, list[_Plan]] = {}  # object -> plans that wait for it by name
        self._bringers: dict[int, _Plan] = {}  # object -> the plan that brings it
        self._number = 0
        self._offered = 0  # how many are, and have not been fetched
        self._unoffered: deque[tuple[_Transfer, Callable[[Callable[[bool], None]], None]]] = deque()

    @property
    def has_chunks(self) -> bool:
        """Something is to be sent in chunks, and may be."""
        return bool(self._chunked) and self._may_begin(self._chunked[0])

    def _find_oldest(self) -> _Transfer | None:
        """The oldest that is still under way."""
        while self._in_order and self._in_order[0].is_over:
            self._in_order.popleft()
        return self._in_order[0] if self._in_order else None

    def _may_begin(self, transfer: _Transfer) -> bool:
        """What was begun stays so; the oldest always may."""
        oldest = self._find_oldest()
        return oldest is None or transfer.number < oldest.number + MOST_AHEAD

    def add(self, object_id: int, view: memoryview, offer: Callable[[Callable[[bool], None]], None] | None) -> None:
        """Send this object: `offer(done)` offers it; without that it goes in chunks."""
        self._number += 1
        transfer = self._open[object_id] = _Transfer(object_id, self._number, view)
        self._in_order.append(transfer)
        if offer is None:
            self._chunked.append(transfer)
        else:
            self._unoffered.append((transfer, offer))
            self._offer_more()

    def _offer_more(self) -> None:
        while self._unoffered and self._offered < MOST_OFFERED and self._may_begin(self._unoffered[0][0]):
            transfer, offer = self._unoffered.popleft()
            if not transfer.is_over:
                self._offered += 1
                transfer.is_offered = True
                offer(partial(self._on_transported, transfer))

    def _on_transported(self, transfer: _Transfer, ok: bool) -> None:
        if transfer.is_over:
            return
        self._offered -= 1
        transfer.is_offered = False
        if ok:
            self._finish(transfer)
        else:
            self._chunked.appendleft(transfer)  # before those that may not be begun until this one has arrived
            self._offer_more()

    def after(self, what: Callable[[], None], objects: Iterable[int] | None = None, brings: Iterable[int] = ()) -> None:
        """Call this once these objects have arrived, or all that were added before and all that waits for them.

        What names an object that another `brings` comes after that one.
        """
        plan = _Plan(what, brings)
        if objects is None:
            plan.before = self._number + 1
        else:
            for object_id in set(objects):
                if object_id in self._open:
                    self._waiting.setdefault(object_id, []).append(plan)
                    plan.missing += 1
                bringer = self._bringers.get(object_id)
                if bringer is not None:
                    bringer.followers.append(plan)
                    plan.missing += 1
            if not plan.missing:
                what()
                return
        for object_id in brings:
            self._bringers[object_id] = plan
        self._plans.append(plan)
        self._run_plans()

    def send_next(self, post: Callable[[Chunk], None]) -> None:
        """Post one chunk."""
        transfer = self._chunked[0]
        view, offset = transfer.view, transfer.offset
        data = bytes(view[offset : offset + CHUNK_BYTES])
        post(Chunk(transfer.object, offset, view.nbytes, data))
        transfer.offset += len(data)
        if transfer.offset == view.nbytes:
            self._chunked.popleft()
            self._finish(transfer)

    def drop(self, object_id: int) -> None:
        """Nobody wants this object any more: no more of it is sent, and what waits for it need not."""
        transfer = self._open.get(object_id)
        if transfer is not None:
            if transfer in self._chunked:
                self._chunked.remove(transfer)
            self._finish(transfer)

    def _finish(self, transfer: _Transfer) -> None:
        transfer.is_over = True
        del self._open[transfer.object]
        if transfer.is_offered:  # and was dropped before it was fetched
            self._offered -= 1
        for plan in self._waiting.pop(transfer.object, ()):
            self._lack_less(plan)
        self._run_plans()
        self._offer_more()

    def _lack_less(self, plan: _Plan) -> None:
        plan.missing -= 1
        if not plan.missing:
            self._do(plan)

    def _do(self, plan: _Plan) -> None:
        plan.is_done = True
        for object_id in plan.brings:
            self._bringers.pop(object_id, None)
        plan.what()
        for follower in plan.followers:
            self._lack_less(follower)

    def _run_plans(self) -> None:
        """Do what waits for all before it, as far as that is done."""
        while self._plans:
            plan = self._plans[0]
            if not plan.is_done:
                oldest = self._find_oldest()
                if plan.missing or (oldest is not None and oldest.number < plan.before):
                    return
            self._plans.popleft()
            if not plan.is_done:
                self._do(plan)

    def close(self) -> None:
        for transfer in self._open.values():
            transfer.is_over = True
        self._open.clear()
        self._in_order.clear()
        self._chunked.clear()
        self._unoffered.clear()
        self._plans.clear()
        self._waiting.clear()
        self._bringers.clear()
