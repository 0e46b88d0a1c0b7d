"""Runs episodes of a fuzzer in a child, and names the one that failed, however it ended.

A fault found by a sanitizer ends the process at once, so the child notes which seed it is at, and in which event, in
memory that its parent has too.
"""

import importlib
import logging
import mmap
import os
import random
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from scaler._native import SchedulerCore

FUZZERS = {
    "core": "the scheduler's core, by every event that its shell may call",
    "frames": "a scheduler to which remote peers say anything",
    "relays": "relays of clients and clusters to which a scheduler says anything",
    "handshake": "the handshake of a host's listener, at which anybody of this host says anything",
    "objects": "both ends of the connections for objects",
    "segments": "a scheduler's pump whose peers write anywhere into their shared memory",
}

EVENTS = {  # for each commit, and at night
    "core": (100_000, 10_000_000),
    "frames": (2_000, 200_000),
    "relays": (600, 50_000),
    "segments": (20_000, 1_000_000),
    "handshake": (3_000, 100_000),
    "objects": (80, 2_000),
}


class Progress:
    """Where a run is. An episode counts its events here."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 24)

    def note(self, seed: int, event: int, total: int) -> None:
        struct.pack_into("<QQQ", self._memory, 0, seed, event, total)

    def read(self) -> tuple[int, int, int]:
        """The seed, the event in its episode, and the events of the episodes before."""
        seed, event, total = struct.unpack_from("<QQQ", self._memory)
        return seed, event, total


Episode = Callable[[int, int, Callable[[int], None]], None]  # seed, events, to be told of each event


class Fuzz(Protocol):
    """What plays events to a core."""

    chance: random.Random

    @property
    def core(self) -> SchedulerCore: ...

    @property
    def events(self) -> Sequence[Callable[[], object]]: ...

    def take_down(self) -> None: ...


def play(fuzz: Fuzz, events: int, on_event: Callable[[int], None], check_every: int) -> None:
    """An episode of events that are drawn alike, with a look at the core after some of them."""
    for number in range(events):
        on_event(number)
        fuzz.chance.choice(fuzz.events)()
        if number % check_every == 0:
            fuzz.core.check()
    on_event(events)
    fuzz.take_down()


@dataclass
class Outcome:
    """What came of a run."""

    events: int
    seconds: float
    failure: str | None = None  # how to play it again


def load(name: str) -> tuple[Episode, int]:
    """A fuzzer's episode, and how many events one has."""
    module = importlib.import_module(f"tests.fuzz.{name}")
    return module.episode, module.EVENTS


def run(name: str, seed: int, events: int) -> Outcome:
    """So many events, in episodes with seeds that count up from this one."""
    episode, most = load(name)
    progress, start = Progress(), time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _in_child(episode, progress, seed, events, most)
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    at, event, total = progress.read()
    outcome = Outcome(total + event, time.monotonic() - start)
    if status:
        how = f"with signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"with {os.WEXITSTATUS(status)}"
        again = f"python -m tests.fuzz {name} --seed {at} --events {min(event + 1, most)}"
        outcome.failure = f"{name} ended {how} in event {event} of the episode of seed {at}; again: {again}"
    return outcome


def _in_child(episode: Episode, progress: Progress, seed: int, events: int, most: int) -> None:
    """Never returns."""
    status = 1
    logging.disable(logging.CRITICAL)  # that nonsense was refused
    try:
        total = 0
        while total < events:
            length = min(most, events - total)
            progress.note(seed, 0, total)
            note = progress.note
            at = seed

            def on_event(event: int) -> None:
                note(at, event, total)  # noqa: B023 - an episode is over before these change

            episode(seed, length, on_event)
            total += length
            seed += 1
        progress.note(seed, 0, total)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
