"""Arrival: an object on its way into a store here, and the thread that may be writing it.

Rule 1: one connection at a time writes; another one breaks off the one before, since that is dead or stuck.
Rule 2: nothing is written any more once `stop` was true, so only then may the object's room be used otherwise.
        `close` does not wait: the thread that leaves last gives the room back.
"""

import socket
import threading
from collections.abc import Callable

from scaler.objects.stream import Connection

PATIENCE_S = 5.0
SHARED_BYTES = 1 << 20  # what is no larger shares a segment with others (store)


class Arrival:
    """`here` is its id in the store, 0 if there is no room for it; `view` is that room.

    `allocate(end)` is told how much of the room has been written, which has pages by then.
    """

    def __init__(
        self, here: int, total: int, view: memoryview | None, allocate: Callable[[int], object] | None = None
    ) -> None:
        self._allocate = allocate
        self.here, self.total = here, total
        self.have = 0  # so much has come
        self.parts: list[bytes] | None = None  # which is kept here, until it is whole and gets its room
        self._view = view
        self._condition = threading.Condition()
        self._connection: Connection | None = None  # of the thread that writes
        self._is_closed = False
        self._give_back: Callable[[], object] | None = None

    @property
    def is_whole(self) -> bool:
        return self.have == self.total

    @property
    def is_whole_or_nowhere(self) -> bool:
        """Nothing more is to come, since all is here or there is no room for it."""
        return self.have == self.total or (not self.here and self.parts is None)

    @property
    def is_stopped(self) -> bool:
        """No thread writes it, or may."""
        return self._is_closed

    def begin(self, connection: Connection, wait_s: float = PATIENCE_S) -> memoryview | None:
        """The room, to be written by this connection's thread; then `end`. None if it is not to be written now.

        If another connection is about it, that is broken off, and given so long to end.
        """
        with self._condition:
            if self._connection is not None:
                _break_off(self._connection)
                self._condition.wait_for(lambda: self._connection is None, wait_s)
            if self._is_closed or self._connection is not None or self._view is None:
                return None
            self._connection = connection
            return self._view

    def make_room(self, end: int) -> None:
        """This process will write up to there. OSError if there are no pages for that: writing would end the process.

        What the kernel writes, as it does for a plain socket, needs none: it says so itself.
        """
        if self._allocate is not None:
            self._allocate(end if self.total > SHARED_BYTES else self.total)

    def note(self, have: int) -> None:
        if self._allocate is not None:
            self._allocate(have)
        self.have = have

    def end(self) -> None:
        """Its thread writes no more."""
        with self._condition:
            self._connection = None
            self._condition.notify_all()
            give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()

    def stop(self) -> bool:
        """No thread is to write it any more: it is whole, or comes another way. False if one still may, being stuck."""
        with self._condition:
            self._is_closed = True
            self._view = None
            if self._connection is not None:
                _break_off(self._connection)
                return self._condition.wait_for(lambda: self._connection is None, PATIENCE_S)
            return True

    def close(self, give_back: Callable[[], object]) -> None:
        """Nobody wants it any more: `give_back` is called when nobody writes it."""
        with self._condition:
            self._is_closed = True
            self._view = None
            if self._connection is not None:
                _break_off(self._connection)
                self._give_back = give_back
                return
        give_back()


def _break_off(connection: Connection) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is broken already
