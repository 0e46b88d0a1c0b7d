"""Roster: which workers there should be and which there are. Events in, commands out; no process, no clock.

A worker that ends without being told to is started again. One that had joined died of what it was given, or was killed:
the next one is started at once, so that its task waits for no longer than a start takes; only if several in a row
lived for less than SETTLED_S there is a pause that doubles up to MOST_JOINED_PAUSE_S. One that could not even join (a
broken environment) is not to keep the host busy: that pause doubles up to MOST_PAUSE_S.

If START_FAILURES in a row could not even join, at each member, and none is there, no worker can start (`is_unable`):
what waits for one would wait for ever. They are tried again all the same: what keeps them from it may be mended.

One that was killed to stop what it ran is started again at once, and does not count.

Spares stand in for workers whose task waits for another worker's: as many as there are such, up to the number of spare
members. They stay for SPARE_LINGER_S after they were needed, so that the next one that waits finds them warm.

A host may grow and shrink (scaling): then only the first `least` members are started from the beginning. The others are
STOPPED, and so is one that has left, until `on_grow` wants more.

When the host drains (`on_drain`) each worker ends with what it runs, and nobody is started any more.

Not here: starting and watching processes (supervisor).
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 10.0
MOST_JOINED_PAUSE_S = 0.5
SETTLED_S = 0.3
QUICK_DEATHS = 3  # in a row, before there is a pause
START_FAILURES = 3  # in a row, before there is no hope
SPARE_LINGER_S = 5.0


class State(Enum):
    WAITING = "waiting"  # to be started at `due_s`
    STARTING = "starting"
    JOINED = "joined"
    LEAVING = "leaving"
    STOPPED = "stopped"


@dataclass
class Member:
    """One worker of this host, whichever process it is just now."""

    name: str
    state: State = State.WAITING
    due_s: float = 0.0
    since_s: float = 0.0
    pause_s: float = 0.0
    quick_deaths: int = 0  # in a row, after joining
    failures: int = 0  # to join, in a row
    is_spare: bool = False

    @property
    def is_there(self) -> bool:
        return self.state not in (State.STOPPED, State.LEAVING)


@dataclass(frozen=True)
class Start:
    """Command: start a process for this member."""

    member: int


@dataclass(frozen=True)
class Retire:
    """Command: have the process at this member end when its task is done."""

    member: int


class Roster:
    """The workers of one supervisor, by member; those of spares come last."""

    def __init__(self, names: list[str], spares: Sequence[str] = (), least: int | None = None) -> None:
        self._least = len(names) if least is None else least
        self.members = [Member(name) for name in names]
        self.members += [Member(name, State.STOPPED, is_spare=True) for name in spares]
        self.running = False
        self.is_draining = False
        self._spares_wanted = 0
        self._spares_end_s = 0.0  # when those that are not wanted go

    @property
    def names(self) -> tuple[str, ...]:
        """Of the workers, without spares."""
        return tuple(member.name for member in self.members if not member.is_spare)

    def on_connected(self, now_s: float, alive: Container[int] = ()) -> list[Start | Retire]:
        """There is a scheduler to work for. Those at the members `alive` have joined it already."""
        self.running = True
        for index, member in enumerate(self.members):
            if index not in alive:
                member.state, member.due_s, member.pause_s, member.failures = State.WAITING, now_s, 0.0, 0
                if member.is_spare or index >= self._least:
                    member.state = State.STOPPED
        return self.on_tick(now_s)

    def on_disconnected(self) -> None:
        """The scheduler has gone: nobody is started until there is one again."""
        self.running = False

    def on_grow(self, count: int, now_s: float) -> list[Start | Retire]:
        """So many more are wanted."""
        stopped = [each for each in self.members if each.state is State.STOPPED and not each.is_spare]
        for member in stopped[:count]:
            member.state, member.due_s, member.pause_s, member.failures = State.WAITING, now_s, 0.0, 0
        return self.on_tick(now_s)

    def on_shrink(self, indices: Iterable[int]) -> list[Start | Retire]:
        """These are wanted no more."""
        return self._dismiss(index for index in indices if self.members[index].is_there)

    def on_drain(self) -> list[Start | Retire]:
        """All are to end, each when it has done what it runs, and nobody is started any more."""
        self.is_draining = True
        return self._dismiss(index for index, member in enumerate(self.members) if member.is_there)

    def _dismiss(self, indices: Iterable[int]) -> list[Start | Retire]:
        """Have these end: at once those that are not there yet."""
        commands: list[Start | Retire] = []
        for index in indices:
            member = self.members[index]
            if member.state is State.WAITING:
                member.state = State.STOPPED
            else:
                member.state = State.LEAVING
                commands.append(Retire(index))
        return commands

    def on_blocked(self, count: int, now_s: float) -> list[Start | Retire]:
        """So many workers have a task that waits for another worker's."""
        if self.is_draining:
            return []
        spares = [member for member in self.members if member.is_spare]
        if self._spares_wanted > count:
            self._spares_end_s = now_s + SPARE_LINGER_S
        self._spares_wanted = count
        missing = min(count, len(spares)) - sum(member.is_there for member in spares)
        for member in [member for member in spares if member.state is State.STOPPED][: max(0, missing)]:
            member.state, member.due_s, member.pause_s = State.WAITING, now_s, 0.0
        return self.on_tick(now_s)

    def on_tick(self, now_s: float) -> list[Start | Retire]:
        """Start the workers that are due, and have spares go that are not wanted any more."""
        if not self.running or self.is_draining:
            return []
        commands: list[Start | Retire] = []
        if self._has_spares_too_many and now_s >= self._spares_end_s:
            there = [index for index, member in enumerate(self.members) if member.is_spare and member.is_there]
            commands += self._dismiss(there[self._spares_wanted :])
        for index, member in enumerate(self.members):
            if member.state is State.WAITING and member.due_s <= now_s:
                member.state, member.since_s = State.STARTING, now_s
                commands.append(Start(index))
        return commands

    def on_joined(self, index: int, now_s: float) -> None:
        """This worker's process has joined the scheduler."""
        member = self.members[index]
        member.failures = 0
        if member.state is not State.LEAVING:  # it was told to end while it started
            member.state, member.since_s = State.JOINED, now_s

    def on_exited(self, index: int, now_s: float, intended: bool = False) -> list[Start | Retire]:
        """This worker's process has ended: by itself, or it was killed to stop what it ran (`intended`)."""
        member = self.members[index]
        if member.state is State.LEAVING:
            member.state = State.STOPPED
            return self.on_blocked(self._spares_wanted, now_s)
        has_joined = member.state is State.JOINED
        member.failures += not has_joined and not intended
        if has_joined and now_s - member.since_s >= SETTLED_S:
            member.pause_s, member.quick_deaths = 0.0, 0
        elif has_joined and not intended and member.quick_deaths < QUICK_DEATHS:
            member.pause_s, member.quick_deaths = 0.0, member.quick_deaths + 1
        wait_s = min(member.pause_s, MOST_JOINED_PAUSE_S) if has_joined else member.pause_s
        if intended:
            wait_s = 0.0
        elif not has_joined or member.quick_deaths >= QUICK_DEATHS:
            member.pause_s = min(MOST_PAUSE_S, max(FIRST_PAUSE_S, member.pause_s * 2))
        member.state, member.due_s = State.WAITING, now_s + wait_s
        return self.on_tick(now_s)

    @property
    def next_due_s(self) -> float | None:
        """When on_tick next has something to do."""
        due = [member.due_s for member in self.members if member.state is State.WAITING]
        if self._has_spares_too_many:
            due.append(self._spares_end_s)
        return min(due) if due and self.running else None

    @property
    def joined(self) -> set[int]:
        """The members of those that have joined."""
        return {index for index, member in enumerate(self.members) if member.state is State.JOINED}

    @property
    def there(self) -> list[int]:
        """The members that are there or are about to be, without spares and those that leave."""
        return [index for index, member in enumerate(self.members) if member.is_there and not member.is_spare]

    @property
    def fails_to_start(self) -> bool:
        """Somebody could not join when it was started last."""
        return any(self.members[index].failures for index in self.there)

    @property
    def is_empty(self) -> bool:
        """Nobody is there, nor about to be."""
        return all(member.state is State.STOPPED for member in self.members)

    @property
    def all_joined(self) -> bool:
        return all(self.members[index].state is State.JOINED for index in self.there)

    @property
    def is_unable(self) -> bool:
        """No worker is there, and it seems that none can start."""
        wanted = [self.members[index] for index in self.there]
        return bool(wanted) and all(
            member.state is not State.JOINED and member.failures >= START_FAILURES for member in wanted
        )

    @property
    def _has_spares_too_many(self) -> bool:
        return sum(member.is_spare and member.is_there for member in self.members) > self._spares_wanted
