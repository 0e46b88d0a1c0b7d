"""Alarms: what is wrong just now with clients or tasks of theirs, in sentences that name the culprit.

Each is logged once when it begins, and stands in the reports of the monitor as long as it holds. Three kinds:

* A client that does not read: its oldest result has had no room on the way to it for UNREAD_S. None of its tasks is
  placed meanwhile, and it may wonder why.
* Tasks ask for resources that no worker here has, for MISSING_S. They wait on, since a cluster that has them may come.
* A task that was stopped and went on until its worker was killed. That is over when it is seen, so it is said for a
  while.

Rule 1: it costs nothing while all is well but a look at the clients, once a second, and none while nothing happens.
Not here: what is wrong with clusters (pump_peers, remote_peers), who reads the reports.
"""

import logging
from collections.abc import Callable, Iterable

from scaler.scheduler.function_names import printable
from scaler.values.resources import in_words, what_is_missing

_log = logging.getLogger(__name__)
LOOK_S = 1.0
UNREAD_S = 10.0
MISSING_S = 5.0
MOST_SAID = 1000  # characters of what a client asks for
MOST_MISSING = 20  # different things that nobody has, of which it is spoken
KILLED_S = 600.0  # for how long a killed worker is spoken of
MOST_KILLED = 20

# Whose it is, what is asked for, and the most of each that one worker has (standing.pyx).
Missing = tuple[int, list[tuple[str, float | None]], list[float | None]]


class Alarms:
    """`unread()` gives (client's bits, its oldest result without room) of each client that has such; `name_of(bits)`
    says what people call a client; `missing()` what has been asked for longer than MISSING_S and is nowhere. No clock:
    `now_s` is an argument.
    """

    def __init__(
        self,
        unread: Callable[[], Iterable[tuple[int, int]]],
        name_of: Callable[[int], str],
        missing: Callable[[], Iterable[Missing]] = lambda: (),
    ) -> None:
        self._unread, self._name_of, self._missing = unread, name_of, missing
        self._nowhere: list[str] = []  # what is said of what nobody has
        self._next_look_s = 0.0
        self._waiting: dict[int, tuple[int, float]] = {}  # client -> the result at its head, since when
        self._not_reading: dict[int, str] = {}  # what is said of these
        self._killed: dict[str, float] = {}  # sentence -> until when it is said

    def attend(self, now_s: float) -> None:
        """Look, if it is time: for a loop that comes by often."""
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            self.look(now_s)

    def look(self, now_s: float) -> None:
        """Look at the clients now."""
        self._look_for_missing()
        heads = dict(self._unread())
        if not heads and not self._waiting:
            return
        before, self._waiting = self._waiting, {}
        for client, task in heads.items():
            head, since_s = before.get(client, (0, now_s))
            self._waiting[client] = (task, since_s if head == task else now_s)
        for client in list(self._not_reading):
            if client not in heads or self._waiting[client][0] != before[client][0]:
                _log.info("%s reads its results again", self._name_of(client))
                del self._not_reading[client]
        for client, (task, since_s) in self._waiting.items():
            if now_s - since_s >= UNREAD_S and client not in self._not_reading:
                self._not_reading[client] = said = (
                    f"{self._name_of(client)} does not read its results: that of task {task:#x} has waited for room "
                    f"since {now_s - since_s:.0f} s, and no task of this client is placed until it reads"
                )
                _log.warning("%s", said)

    def _look_for_missing(self) -> None:
        nowhere: list[str] = []
        for _, asked, most in self._missing():
            said = printable(f"tasks wait for {in_words(asked)}: {what_is_missing(asked, most)}", MOST_SAID)
            if said not in nowhere and len(nowhere) < MOST_MISSING:
                nowhere.append(said)
        for said in nowhere:
            if said not in self._nowhere:
                _log.warning("%s; they wait for a cluster that has it (--resources)", said)
        self._nowhere = nowhere

    def on_killed(self, sentence: str, now_s: float) -> None:
        """A worker was killed, since its task went on though it was stopped. That is logged where it was done."""
        self._killed[sentence] = now_s + KILLED_S
        while len(self._killed) > MOST_KILLED:
            del self._killed[next(iter(self._killed))]

    def sentences(self, now_s: float) -> list[str]:
        """What is wrong now, the worst first."""
        self._killed = {text: until_s for text, until_s in self._killed.items() if until_s > now_s}
        return [*self._not_reading.values(), *self._nowhere, *reversed(self._killed)]
