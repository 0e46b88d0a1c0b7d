"""Signals: which ones end a program of ours, and how they wait until it can end in an orderly way.

SIGINT (Ctrl-C), SIGTERM (a service manager, a container's end) and SIGHUP (the terminal has gone) all take the same way
out, on which workers, their own children and all shared memory go. A program may do something else about SIGTERM, or
about one more signal: a cluster drains (cluster.supervisor).

Rule 1: from `hold` on they wait, until `obey` has said what serves them: in between nothing can be left half-made.
Rule 2: SIGHUP stays ignored where it was ignored at the start: that is what nohup is for.
Not here: the signal that stops a task (scaler.cancellation).
"""

import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # not in the first moments of a command

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hold(*others: int) -> None:
    """Let those that come from now on wait, and these others."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*ENDING, *others))


def obey(
    loop: "AbstractEventLoop", stop: Callable[[], object], others: Mapping[int, Callable[[], object]] | None = None
) -> None:
    """Have the loop call `stop` for each of them, but what `others` says for those. Those that have waited are served
    now."""
    served: dict[int, Callable[[], object]] = {number: stop for number in ENDING}
    served.update(others or {})
    for number, serve in served.items():
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, serve)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, tuple(served))
