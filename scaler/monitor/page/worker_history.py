"""WorkerHistory: what each worker took over the last minutes, for the page about one of them.

Not here: figures about all of them together (figures, series).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scaler.monitor.report import Report, Workers

ROUNDS = 600
COLUMNS = ("cpu_share", "rss_bytes", "rate", "busy_share")


class WorkerHistory:
    """A ring of rounds; in each a row per lane."""

    def __init__(self, rounds: int = ROUNDS) -> None:
        self._values: npt.NDArray[np.float32] = np.full((rounds, 64, len(COLUMNS)), np.nan, np.float32)
        self._times: npt.NDArray[np.float64] = np.full(rounds, np.nan)
        self._at = 0
        self._before: _Before | None = None

    def begin_epoch(self) -> None:
        """Counts begin anew."""
        self._before = None

    def add(self, report: Report, body: Workers, lanes: npt.NDArray[np.int64]) -> None:
        if len(lanes) and int(lanes.max()) >= self._values.shape[1]:
            wider = np.full((len(self._times), 2 * int(lanes.max()), len(COLUMNS)), np.nan, np.float32)
            wider[:, : self._values.shape[1]] = self._values
            self._values = wider
        done = np.asarray(body.succeeded, np.int64) + np.asarray(body.failed, np.int64)
        busy_ns = np.asarray(body.busy_ns, np.int64)
        row = self._values[self._at]
        row.fill(np.nan)
        row[lanes, 0] = np.asarray(body.cpu_share)
        row[lanes, 1] = np.asarray(body.rss_bytes, np.float64)
        before, self._before = self._before, _Before(report.clock_ns, lanes, done, busy_ns)
        if before is not None and report.clock_ns > before.clock_ns:
            passed_ns = report.clock_ns - before.clock_ns
            room = self._values.shape[1]
            row[lanes, 2] = (done - before.by_lane(before.done, room)[lanes]).clip(0) * 1e9 / passed_ns
            row[lanes, 3] = (busy_ns - before.by_lane(before.busy_ns, room)[lanes]).clip(0) / passed_ns
        self._times[self._at] = report.wall_ns / 1e9
        self._at = (self._at + 1) % len(self._times)

    def of(self, lane: int) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float32]]]:
        """Times, oldest first, and the columns of one lane."""
        order = np.roll(np.arange(len(self._times)), -self._at)
        order = order[np.isfinite(self._times[order])]
        if lane >= self._values.shape[1]:
            return self._times[order], {name: np.full(len(order), np.nan, np.float32) for name in COLUMNS}
        return self._times[order], {name: self._values[order, lane, i] for i, name in enumerate(COLUMNS)}


class _Before(NamedTuple):
    clock_ns: int
    lanes: npt.NDArray[np.int64]
    done: npt.NDArray[np.int64]
    busy_ns: npt.NDArray[np.int64]

    def by_lane(self, values: npt.NDArray[np.int64], room: int) -> npt.NDArray[np.int64]:
        made = np.zeros(room, np.int64)
        made[self.lanes] = values
        return made
