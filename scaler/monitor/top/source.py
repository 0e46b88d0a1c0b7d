"""Where reports come from: a scheduler that is there (Live), or a recording (Replay).

Rule 1: whatever is recorded is every table, whatever is shown meanwhile, so that the recording answers questions that
        nobody had when it was made. It costs the scheduler all of its reports.
"""

from collections.abc import Iterator

from scaler.monitor.recording import Recorder, Recording, RecordingError
from scaler.monitor.report import TOPICS, Report
from scaler.monitor.subscriber import Subscriber
from scaler.monitor.top.facts import moment
from scaler.monitor.top.latest import HISTORY, Latest

MOST_AT_ONCE = 256
_WHOLE_ROUNDS = 2  # before the one that is shown: rates are differences


class Live:
    def __init__(self, address: str, record: str | None = None, keys: str | None = None) -> None:
        self.recorder = Recorder(record) if record is not None else None
        try:
            self.subscriber = Subscriber(address, (), keys)
        except BaseException:
            self.close()
            raise
        self._topics: set[str] = set()

    def subscribe(self, topics: set[str]) -> None:
        wanted = topics | set(TOPICS) if self.recorder is not None else topics
        if wanted != self._topics:
            self._topics = set(wanted)
            self.subscriber.subscribe(wanted)

    def read(self) -> Iterator[Report]:
        """What has come. Each is recorded before anything is done with it."""
        for _ in range(MOST_AT_ONCE):
            report = self.subscriber.read(0)
            if report is None:
                return
            self.note()
            yield report

    def note(self) -> None:
        """Record the report that the subscriber has read last."""
        if self.recorder is not None:
            self.recorder.add(self.subscriber.last_bytes)

    def close(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
        if hasattr(self, "subscriber"):
            self.subscriber.close()


class Rounds:
    """When all that a scheduler says at one time has come. It may leave out a table of which there is nothing."""

    def __init__(self, topics: set[str]) -> None:
        self._topics = topics
        self._label: tuple[int, int] | None = None
        self._seen: set[str] = set()
        self._is_given = True

    def is_over_by(self, report: Report) -> bool:
        """A round that was not whole is all there is, since this is of the next one."""
        label = report.epoch, report.number
        if label == self._label:
            return False
        was_open = not self._is_given
        self._label, self._seen, self._is_given = label, set(), False
        return was_open

    def is_whole_with(self, report: Report) -> bool:
        """This is the last of its round."""
        self._seen.add(report.topic)
        if self._is_given or not self._topics <= self._seen:
            return False
        self._is_given = True
        return True


class Replay:
    """A recording, round by round: a round is what a scheduler has said at one time. RecordingError if it has none."""

    def __init__(self, path: str) -> None:
        self._recording = Recording(path)
        self._rounds: list[list[tuple[int, str]]] = []
        before = None
        for at, epoch, number, topic in self._recording.index():
            if topic in TOPICS and (epoch, number) != before:
                before = epoch, number
                self._rounds.append([])
            if topic in TOPICS:
                self._rounds[-1].append((at, topic))
        self.problem = self._recording.problem
        if not self._rounds:
            raise RecordingError(self.problem or f"{path} holds no report")
        self.at = len(self._rounds) - 1

    def __len__(self) -> int:
        return len(self._rounds)

    def latest(self) -> Latest:
        """What a viewer knows that has followed it up to where it is now."""
        made = Latest()
        first = max(0, self.at - HISTORY)
        for number in range(first, self.at + 1):
            is_whole = number >= self.at - _WHOLE_ROUNDS
            for at, topic in self._rounds[number]:
                if is_whole or topic == "summary":
                    made.on_report(self._recording.read_at(at))
        return made

    def go(self, steps: int, latest: Latest) -> Latest:
        """So many rounds on or back, as far as there are any; what is known there."""
        wanted = min(len(self._rounds) - 1, max(0, self.at + steps))
        if wanted == self.at + 1:
            self.at = wanted
            for at, _ in self._rounds[wanted]:
                latest.on_report(self._recording.read_at(at))
            return latest
        self.at = wanted
        return self.latest()

    @property
    def is_at_end(self) -> bool:
        return self.at == len(self._rounds) - 1

    def position(self, latest: Latest) -> str:
        return f" at {moment(latest.wall_ns())}, report {self.at + 1} of {len(self._rounds)}"
