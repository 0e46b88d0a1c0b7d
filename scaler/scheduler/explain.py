"""Explain: where a task stands, and why it does not run, as facts and as one sentence.

`standing_of` (native/scheduler/standing.pyx) has the facts; this says them. It is pure: facts in, a Task out.

Rule 1: a sentence says what is so and what would change it, not what might be.
Not here: who asks (publisher), names of functions and workers (reporter, who hands in how to look them up).
"""

from array import array
from collections.abc import Callable
from typing import Any

from scaler.monitor.report import Tally, Task
from scaler.values.resources import in_words, what_is_missing

HELD_FULL, HELD_CLEARING = 1, 2  # bits of what ReadyQueue says a client is held for
MOST_STEPS = 1 << 18  # beyond which standing_of does not count
_STATES = {
    "READY": "ready",
    "PLACED": "placed",
    "CANCELLED": "cancelled",
    "ANSWERED": "unread",
    "HELD_BACK": "held_back",
    "LENT": "lent",
    "DOOMED": "doomed",
    "WAITING": "waiting",
    "KEPT": "kept",
    "UNKNOWN": "unknown",
}


def explain(
    task: int,
    standing: dict[str, Any],
    now_ns: int,
    *,
    name_of_function: Callable[[int], str],
    name_of_worker: Callable[[int], str],
    unable: str = "",
    ended: str = "",
) -> Task:
    """What is to be said of this task. `name_of_worker` takes a worker's index; `unable` is why no worker can start, if
    that has been said; `ended` how the task has ended, if the recorder still knows."""
    state = str(standing["state"])
    say = _SAY[state]
    function = int(standing.get("function", 0))
    about = Task(
        task=task,
        state=_STATES[state],
        facts=Tally.of(dict(_fact(name, value) for name, value in standing.items() if isinstance(value, int))),
        function=function,
        function_name=name_of_function(function) if function else "",
        worker=int(standing.get("worker", 0)),
        worker_name=name_of_worker(int(standing["worker_index"])) if "worker_index" in standing else "",
        inputs=array("Q", standing.get("inputs", ())),
    )
    if "ready_since_ns" in standing:
        about.facts.names.append("waited_ns")
        about.facts.counts.append(max(0, now_ns - int(standing["ready_since_ns"])))
    running = int(standing.get("running_function", 0))
    known = {**standing, "now_ns": now_ns, "unable": unable, "ended": ended}
    known["running_name"] = name_of_function(running) if running else "another task"
    about.sentence = say(about, known)
    return about


def _fact(name: str, value: int) -> tuple[str, int]:
    """As a Tally has it, whose numbers are never negative."""
    return (name, int(value)) if value >= 0 else (f"{name}_below_zero", -value)


def _seconds(ns: int) -> str:
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.0f} ms"
    return f"{ns / 1e9:.1f} s" if ns < 60_000_000_000 else f"{ns / 60e9:.1f} min"


def _counted(number: int, thing: str) -> str:
    more = "more than " if number >= MOST_STEPS else ""
    return f"{more}{number} {thing}" + ("" if number == 1 else "s")


def _ready(about: Task, known: dict[str, Any]) -> str:
    if not known["workers"]:
        why = known["unable"]
        return f"waits for a worker: none can start ({why})" if why else "waits for a worker: there is none"
    if known["held"] & HELD_FULL:
        return "is not placed, since its client does not read the results that wait for it"
    if known["held"] & HELD_CLEARING:
        return "is about to be cancelled: its client has given up its tasks"
    before = []
    if known["ahead_of_higher_priority"]:
        before.append(_counted(known["ahead_of_higher_priority"], "task") + " of a higher priority")
    if known["ahead"]:
        before.append(_counted(known["ahead"], "task") + " of its own client")
    others = known["clients_in_turn"] - 1
    asks = known.get("asks")
    if asks and not known["fits"]:
        return f"waits for {in_words(asks)}: {what_is_missing(asks, known['most'])}"
    text = "waits for a worker with room"
    if asks:
        text = f"waits for {in_words(asks)} to be free, and a worker with that"
    if before:
        text += ", behind " + " and ".join(before)
    if others > 0:
        text += f", in turn with {_counted(others, 'other client')}"
        text += " (it is its client's turn)" if known["is_turn"] else ""
    text += f"; its priority is {known['priority']}"
    return text if asks else f"{text}, and all {known['workers']} workers are busy"


def _placed(about: Task, known: dict[str, Any]) -> str:
    since = _seconds(max(0, known["now_ns"] - known["since_ns"]))
    if known["running"] == about.task:
        text = f"runs on worker {about.worker_name}, for {since} so far"
        if known["is_waiting"]:
            text += ", and waits there for another task"
        if known["limit_ms"]:
            text += f" (it may run {known['limit_ms'] / 1000:g} s)"
        return text
    place = known["ahead"] + 1
    before = f"{known['running_name']} (task {known['running']:#x})"
    return f"is number {place} on worker {about.worker_name}, behind {before}, which has run there for {since}"


def _cancelled(about: Task, known: dict[str, Any]) -> str:
    return f"was cancelled, and is still on worker {about.worker_name}, which is told to stop it"


def _waiting(about: Task, known: dict[str, Any]) -> str:
    if known["is_put_off"]:
        return "has all its inputs, and waits until fewer inputs of its client's other tasks are kept"
    text = f"waits for the results of {_counted(known['open'], 'other task')}"
    if about.inputs:
        text += ": " + ", ".join(f"{task:#x}" for task in about.inputs[:3]) + (", ..." if len(about.inputs) > 3 else "")
    if known["absent"]:
        text += f"; {known['absent']} of these have ended, and their client has not handed their results in yet"
    return text


def _unknown(about: Task, known: dict[str, Any]) -> str:
    if not known["has_client"]:
        return "is not here: no client of this scheduler has such tasks"
    if not known["was_sent"]:
        return (
            "has not been sent to the scheduler yet: its client waits for room, or a task keeps it to run it in place"
        )
    return f"has ended: {known['ended']}" if known["ended"] else "has ended, or was never submitted"


_SAY: dict[str, Callable[[Task, dict[str, Any]], str]] = {
    "READY": _ready,
    "PLACED": _placed,
    "CANCELLED": _cancelled,
    "WAITING": _waiting,
    "UNKNOWN": _unknown,
    "ANSWERED": lambda about, known: "has ended, and its client does not read its results: this one has no room",
    "HELD_BACK": lambda about, known: (
        "was sent again after a restart of the scheduler, and is held back while a worker may still have it"
    ),
    "LENT": lambda about, known: "is run by the task that waits for it, in the same process",
    "DOOMED": lambda about, known: (
        "has failed: its worker has died once too often, and its supervisor is asked how that was"
    ),
    "KEPT": lambda about, known: "has ended, and its result is kept for tasks that are still to come",
}
