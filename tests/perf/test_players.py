"""A player and its process, with the engines that need no installation; and one that does everything wrong."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from perf.peers.players import Player, PlayerError
from tests.processes import assert_gone, wait_until

ENGINES = {"pool": "perf.peers.engines.pool", "rings": "perf.peers.engines.rings"}
ODD = "tests.perf.odd_engine"
TURNS = {
    "submit": {"n": 20},
    "map": {"n": 20},
    "latency": {"n": 3},
    "read": {"n": 3, "n_bytes": 1_000_000},
    "fetch": {"n": 3, "n_bytes": 1_000_000},
}


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def are_stopped(processes: list[psutil.Process]) -> bool:
    return all(process.status() == psutil.STATUS_STOPPED for process in processes)


@pytest.fixture(scope="module", params=list(ENGINES.values()), ids=list(ENGINES))
def player(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    with contextlib.closing(Player(request.param, tmp_path_factory.mktemp("players") / "one")) as made:
        yield made


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Player]:
    with contextlib.closing(Player(ODD, tmp_path / "odd")) as made:
        yield made


@pytest.mark.parametrize("turn", TURNS)
def test_every_turn_takes_some_seconds(player, turn):
    assert player.play(turn, **TURNS[turn]) > 0


def test_who_stops_does_so_with_its_workers_and_plays_when_it_is_its_turn(tmp_path):
    before = set(children())
    with contextlib.closing(Player(ENGINES["pool"], tmp_path / "pool", stops=True)) as player:
        for _ in range(2):
            player.play("map", n=20)
            tree = [process for process in children() if process not in before]
            assert len(tree) == 3
            wait_until(partial(are_stopped, tree))
    assert_gone(tree)


def test_what_an_engine_prints_is_not_taken_for_an_answer(odd, tmp_path):
    assert odd.play("map", n=2) > 0
    assert odd.play("latency", n=2) > 0
    assert (tmp_path / "odd" / "log").read_text().splitlines().count("nor this") == 2  # at the start, too


def test_how_an_engine_does_it_is_known(odd):
    assert odd.how == {"submit": "wrongly"}


def test_a_wrong_answer_is_an_error(odd):
    with pytest.raises(PlayerError, match="AssertionError: a wrong answer"):
        odd.play("submit", n=2)


def test_an_error_comes_with_its_first_line_and_is_not_the_end(odd):
    with pytest.raises(PlayerError, match=r"^ValueError: no such thing$"):
        odd.play("read", n=1, n_bytes=1)
    assert odd.play("map", n=2) > 0


def test_one_that_has_ended_leaves_its_last_words(odd):
    with pytest.raises(PlayerError, match=r"^ended: my last words$"):
        odd.play("fetch", n=1, n_bytes=1)
    with pytest.raises(PlayerError, match=r"^ended"):
        odd.play("map", n=2)


def test_one_that_cannot_start_says_why_and_leaves_nothing(tmp_path):
    before = children()
    with pytest.raises(PlayerError, match=r"^ModuleNotFoundError: .*engines\.none"):
        Player("perf.peers.engines.none", tmp_path / "none")
    assert_gone([process for process in children() if process not in before])


def test_closing_twice_is_closing_once(odd):
    odd.close()
    odd.close()
