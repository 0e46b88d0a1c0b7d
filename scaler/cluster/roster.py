"""Roster: which workers there should be and which there are. Events in, commands out; no process, no clock.

A worker that ends without being told to is started again. One that had joined died of what it was given, or was killed:
the next one is started at once, so that its task waits for no longer than a start takes; only if several in a row
lived for less than SETTLED_S there is a pause that doubles up to MOST_JOINED_PAUSE_S. One that could not even join (a
broken environment) is not to keep the host busy: that pause doubles up to MOST_PAUSE_S.

One that was killed to stop what it ran is started again at once, and does not count.

Not here: starting and watching processes (supervisor).
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum

FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 10.0
MOST_JOINED_PAUSE_S = 0.5
SETTLED_S = 0.3
QUICK_DEATHS = 3  # in a row, before there is a pause


class State(Enum):
    WAITING = "waiting"  # to be started at `due_s`
    STARTING = "starting"
    JOINED = "joined"
    STOPPED = "stopped"


@dataclass
class Place:
    """One worker of this host, whichever process it is just now."""

    name: str
    state: State = State.WAITING
    due_s: float = 0.0
    since_s: float = 0.0
    pause_s: float = 0.0
    quick_deaths: int = 0  # in a row, after joining


@dataclass(frozen=True)
class Start:
    """Command: start a process for this place."""

    place: int


class Roster:
    """The workers of one supervisor, by place."""

    def __init__(self, names: list[str]) -> None:
        self.places = [Place(name) for name in names]
        self.running = False

    def on_connected(self, now_s: float, alive: Container[int] = ()) -> list[Start]:
        """There is a scheduler to work for. Those at the places `alive` have joined it already."""
        self.running = True
        for index, place in enumerate(self.places):
            if index not in alive:
                place.state, place.due_s, place.pause_s = State.WAITING, now_s, 0.0
        return self.on_tick(now_s)

    def on_disconnected(self) -> None:
        """The scheduler has gone: nobody is started until there is one again."""
        self.running = False

    def on_tick(self, now_s: float) -> list[Start]:
        """Start whoever is due."""
        if not self.running:
            return []
        commands = []
        for index, place in enumerate(self.places):
            if place.state is State.WAITING and place.due_s <= now_s:
                place.state, place.since_s = State.STARTING, now_s
                commands.append(Start(index))
        return commands

    def on_joined(self, index: int, now_s: float) -> None:
        """This worker's process has joined the scheduler."""
        self.places[index].state, self.places[index].since_s = State.JOINED, now_s

    def on_exited(self, index: int, now_s: float, intended: bool = False) -> list[Start]:
        """This worker's process has ended: by itself, or it was killed to stop what it ran (`intended`)."""
        place = self.places[index]
        has_joined = place.state is State.JOINED
        if has_joined and now_s - place.since_s >= SETTLED_S:
            place.pause_s, place.quick_deaths = 0.0, 0
        elif has_joined and not intended and place.quick_deaths < QUICK_DEATHS:
            place.pause_s, place.quick_deaths = 0.0, place.quick_deaths + 1
        wait_s = min(place.pause_s, MOST_JOINED_PAUSE_S) if has_joined else place.pause_s
        if intended:
            wait_s = 0.0
        elif not has_joined or place.quick_deaths >= QUICK_DEATHS:
            place.pause_s = min(MOST_PAUSE_S, max(FIRST_PAUSE_S, place.pause_s * 2))
        place.state, place.due_s = State.WAITING, now_s + wait_s
        return self.on_tick(now_s)

    @property
    def next_due_s(self) -> float | None:
        """When on_tick next has something to do."""
        due = [place.due_s for place in self.places if place.state is State.WAITING]
        return min(due) if due and self.running else None

    @property
    def all_joined(self) -> bool:
        return all(place.state is State.JOINED for place in self.places)
