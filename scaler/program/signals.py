"""Signals: which ones end a program of ours, and how they wait until it can end in an orderly way.

SIGINT (Ctrl-C), SIGTERM (a service manager, a container's end) and SIGHUP (the terminal has gone) all take the same way
out, on which workers, their own children and all shared memory go.

Rule 1: from `hold` on they wait, until `obey` has said what serves them: in between nothing can be left half-made.
Rule 2: SIGHUP stays ignored where it was ignored at the start: that is what nohup is for.
Not here: the signal that stops a task (scaler.cancellation).
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # not in the first moments of a command

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hold() -> None:
    """Let those that come from now on wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def obey(loop: "AbstractEventLoop", stop: Callable[[], object]) -> None:
    """Have the loop call `stop` for each of them. Those that have waited are served now."""
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
