"""The process in which one engine plays: `python -m perf.peers.play perf.peers.engines.dask`,
say, in the environment where that engine is.

The parent (players) and this process say lines of JSON to each other, in turns:

    here    {"ready": true, "how": {...}}                       when the engine runs and its workers have run something
    parent  {"turn": "submit", "sizes": {"n": 1000}}            one function of turns.py
    here    {"seconds": 0.71}   or   {"failed": "ValueError: ..."}
    parent  closes the pipe                                     the engine ends, then this process

`how` says in the engine's own words how a row is done with it, where that is not the same for all (Engine.HOW).

Rule 1: the pipes to the parent are for these lines alone: no engine and nothing that it starts inherits them, and what
        they print goes to standard error.
Rule 2: imports the standard library, perf.rounds, perf.work and the engine: its environment has nothing else of ours.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from typing import IO, Any

from perf.peers import turns
from perf.peers.engines import Engine

WARM_UP = 200
SETTLE = 5  # tasks before each turn: whoever was stopped has then caught up


def main(module: str) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # here and in all that is started: see the players' head
    questions, answers = take_pipes()
    try:
        engine: Engine = importlib.import_module(module).open_engine()
        engine.map([(i,) for i in range(WARM_UP)])
    except Exception as error:
        say(answers, {"failed": in_words(error)})
        raise
    with contextlib.closing(engine):
        say(answers, {"ready": True, "how": engine.HOW})
        for line in questions:
            say(answers, play(engine, json.loads(line)))


def play(engine: Engine, question: dict[str, Any]) -> dict[str, Any]:
    try:
        for i in range(SETTLE):
            engine.call(i)
        return {"seconds": turns.TURNS[question["turn"]](engine, **question["sizes"])}
    except Exception as error:
        return {"failed": in_words(error)}


def take_pipes() -> tuple[IO[str], IO[str]]:
    """The parent's questions and our answers. From now on the usual pipes have nothing to do with them."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return questions, answers


def say(answers: IO[str], what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


if __name__ == "__main__":
    main(sys.argv[1])
