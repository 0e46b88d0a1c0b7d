"""Roster: which workers there should be and which there are. Events in, commands out; no process, no clock.

A worker that ends without being told to is started again: at once the first time, then after a pause that doubles up to
MOST_PAUSE_S, and anew at once after one that stayed in for SETTLED_S. So a worker that cannot start at all (a broken
environment) does not keep the host busy, and one killed now and then is missed for no longer than a start takes.

Not here: starting and watching processes (supervisor).
"""

from dataclasses import dataclass
from enum import Enum

FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 10.0
SETTLED_S = 5.0


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


@dataclass(frozen=True)
class Start:
    """Command: start a process for this place."""

    place: int


class Roster:
    """The workers of one supervisor, by place."""

    def __init__(self, names: list[str]) -> None:
        self.places = [Place(name) for name in names]
        self.running = False

    def on_connected(self, now_s: float) -> list[Start]:
        """There is a scheduler to work for."""
        self.running = True
        for place in self.places:
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

    def on_exited(self, index: int, now_s: float) -> list[Start]:
        """This worker's process has ended, and nobody had told it to."""
        place = self.places[index]
        settled = place.state is State.JOINED and now_s - place.since_s >= SETTLED_S
        wait_s = 0.0 if settled else place.pause_s
        place.pause_s = 0.0 if settled else min(MOST_PAUSE_S, max(FIRST_PAUSE_S, place.pause_s * 2))
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
