"""Report: what a run came to, from the client's outcome, the deeds and the journal."""

import itertools
import statistics
from bisect import bisect_left
from dataclasses import dataclass, field

from tests.chaos.journal import Journal, Run
from tests.chaos.load import Outcome
from tests.chaos.trouble import Deed

BACK_NS = 2_000_000_000  # a scheduler that was killed is to be back at full rate by then


@dataclass
class Report:
    """One run over one link."""

    link: str
    seed: int
    outcome: Outcome
    deeds: dict[str, int]
    failures: list[str]
    calm_rate: float  # tasks per second before the trouble
    rough_rate: float  # and in it, without the time after deaths of the scheduler
    back_s: list[float]  # from a worker's death to its task running again
    return_s: list[float]  # from a scheduler's death to half of the calm rate again
    repeated: int  # runs of tasks that had come to their end before
    most_runs: int = field(default=0)

    @property
    def is_good(self) -> bool:
        outcome = self.outcome
        return not (outcome.wrong or outcome.lost or outcome.doubled or self.failures) and outcome.submitted > 0

    def lines(self) -> list[str]:
        outcome = self.outcome
        done = ", ".join(f"{kind} {count}" for kind, count in sorted(self.deeds.items())) or "nothing"
        lines = [
            f"{self.link}, seed {self.seed}: {'good' if self.is_good else 'BAD'}",
            f"  done to them: {done}",
            f"  tasks {outcome.submitted}, right {outcome.right}, died as they were to {outcome.died_as_expected}, "
            f"calls in {outcome.maps} maps {outcome.map_calls}, nodes of {outcome.graphs} graphs {outcome.graph_nodes}",
            f"  wrong {outcome.wrong}, lost {outcome.lost}, delivered twice {outcome.doubled}; "
            f"run again though they had come to their end: {self.repeated}; most runs of one task: {self.most_runs}",
            f"  tasks/s: {self.calm_rate:,.0f} undisturbed, {self.rough_rate:,.0f} disturbed: "
            + (f"x {self.rough_rate / self.calm_rate:.2f} (target 0.5)" if self.calm_rate else "not measured"),
        ]
        if self.back_s:
            lines.append(
                f"  from a worker's death to its task running again: p50 {statistics.median(self.back_s):.3f} s, "
                f"most {max(self.back_s):.3f} s, of {len(self.back_s)} (target 0.2)"
            )
        if self.return_s:
            lines.append(
                f"  from the scheduler's death to half of that rate again: p50 {statistics.median(self.return_s):.2f} "
                f"s, most {max(self.return_s):.2f} s, of {len(self.return_s)} (target 2)"
            )
        return lines + [f"  ! {problem}" for problem in (*outcome.problems, *self.failures)]


def rate_between(ends_ns: list[int], start_ns: int, stop_ns: int, without: list[tuple[int, int]]) -> float:
    """Ends per second in a time, spans of which are left out. `ends_ns` is sorted."""
    total_ns, count = 0, 0
    cut = [(low, high) for low, high in without if low < stop_ns and high > start_ns]
    edges = sorted((max(start_ns, low), min(stop_ns, high)) for low, high in cut)
    for low, high in [*edges, (stop_ns, stop_ns)]:
        if low > start_ns:
            total_ns += low - start_ns
            count += bisect_left(ends_ns, low) - bisect_left(ends_ns, start_ns)
        start_ns = max(start_ns, high)
    return count / total_ns * 1e9 if total_ns > 0 else 0.0


def back_after(deeds: list[Deed], runs_of: list[list[Run]]) -> list[float]:
    """Seconds from each killing of a worker to the next start of the task that it had not ended."""
    killed_ns = {deed.pid: deed.at_ns for deed in deeds if deed.kind == "kill-worker"}
    found = []
    for runs in runs_of:
        for run, after in itertools.pairwise(runs):
            at_ns = killed_ns.get(run.pid)
            if at_ns is not None and run.start_ns < at_ns < after.start_ns and not run.end_ns:
                found.append((after.start_ns - at_ns) / 1e9)
    return found


def returns_after(deeds: list[Deed], ends_ns: list[int], rate: float, stop_ns: int) -> list[float]:
    """Seconds from each killing of the scheduler until a fifth of a second has half of that rate."""
    span_ns, step_ns = 200_000_000, 20_000_000
    found = []
    for deed in deeds:
        if deed.kind != "kill-scheduler":
            continue
        at_ns = deed.at_ns + step_ns
        while at_ns < stop_ns:
            count = bisect_left(ends_ns, at_ns + span_ns) - bisect_left(ends_ns, at_ns)
            if count >= rate * 0.5 * span_ns / 1e9:
                found.append((at_ns - deed.at_ns) / 1e9)
                break
            at_ns += step_ns
    return found


def make_report(
    link: str, seed: int, outcome: Outcome, deeds: list[Deed], failures: list[str], journal: Journal, rough_ns: int
) -> Report:
    """`rough_ns`: when the trouble began."""
    runs_of = [journal.runs(task) for task in range(outcome.submitted)]
    ends_ns = sorted(run.end_ns for runs in runs_of for run in runs if run.end_ns)
    repeated = sum(1 for runs in runs_of for run in runs[:-1] if run.end_ns)
    counts = {kind: sum(1 for deed in deeds if deed.kind == kind) for kind in {deed.kind for deed in deeds}}
    calm = rate_between(ends_ns, outcome.begin_ns + (rough_ns - outcome.begin_ns) // 4, rough_ns, [])
    deaths = [(deed.at_ns, deed.at_ns + BACK_NS) for deed in deeds if deed.kind == "kill-scheduler"]
    stop_ns = max(outcome.end_ns, rough_ns)
    rough = rate_between(ends_ns, rough_ns, stop_ns, deaths)
    return Report(
        link, seed, outcome, counts, failures, calm, rough, back_after(deeds, runs_of),
        returns_after(deeds, ends_ns, calm, stop_ns), repeated, max(map(len, runs_of), default=0),
    )  # fmt: skip
