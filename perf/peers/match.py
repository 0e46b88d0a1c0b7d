"""A match: some contestants do the same turn in alternating rounds, each in a process of its own.

All are opened first, then there is one round that does not count: stores are filled, functions known, pages touched.

Rule 1: who cannot play, or not to the end, is out, with the reason; what it did until then does not count, and the
        others go on.
Rule 2: everything that anybody writes stands in one temporary folder, which goes when all have ended.
Not here: what a turn is (turns), what its seconds mean (rows).
"""

import contextlib
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perf.links import LINKS
from perf.peers.environments import NotInstalledError, find_python
from perf.peers.players import Player, PlayerError
from perf.rounds import alternate

ENGINES = "perf.peers.engines"


@dataclass(frozen=True)
class Contestant:
    """`environment` is None if it plays in ours; `stops` says whether it is stopped while it is not its turn."""

    module: str
    environment: str | None = None
    stops: bool = False

    def open(self, folder: Path) -> Player:
        python = None if self.environment is None else find_python(self.environment)
        return Player(self.module, folder, python, self.stops)


# Stopped are those that take more than 1% of a core when idle.
CONTESTANTS = {
    **{link: Contestant(f"{ENGINES}.{link}") for link in LINKS},
    "Pool": Contestant(f"{ENGINES}.pool"),
    "Dask": Contestant(f"{ENGINES}.dask", "dask", stops=True),
    "Dask processes": Contestant(f"{ENGINES}.dask_processes", "dask"),
    "Ray": Contestant(f"{ENGINES}.ray", "ray", stops=True),
    "scaler 1.9.9": Contestant(f"{ENGINES}.scaler1", "scaler1"),
}


@dataclass
class Outcome:
    """By contestant: the seconds of each round, how it did it, or why it is out."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)


def hold(turn: str, sizes: dict[str, dict[str, int]], rounds: int) -> Outcome:
    """Those named in `sizes` do the turn, each in its size."""
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scaler-peers-")))
        turns: dict[str, Callable[[], float]] = {}
        for name, size in sizes.items():
            try:
                player = CONTESTANTS[name].open(folder / name.replace(" ", "-"))
            except (NotInstalledError, PlayerError) as error:
                outcome.out[name] = str(error)
                continue
            stack.callback(player.close)
            outcome.how[name] = player.how.get(turn, "")
            turns[name] = _turn(name, player, turn, size, outcome.out)
        seconds = alternate(turns, rounds + 1)
    outcome.seconds = {name: values[1:] for name, values in seconds.items() if name not in outcome.out}
    return outcome


def _turn(name: str, player: Player, turn: str, size: dict[str, int], out: dict[str, str]) -> Callable[[], float]:
    def play() -> float:
        if name in out:
            return math.nan
        try:
            return player.play(turn, **size)
        except PlayerError as error:
            out[name] = str(error)
            player.close()
            return math.nan

    return play
