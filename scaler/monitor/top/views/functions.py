"""Functions: how often each was called, how long its calls take and wait, and who has the workers."""

from collections.abc import Hashable

from scaler.monitor.histogram import quantile_ns
from scaler.monitor.report import Functions, Histograms
from scaler.monitor.top.facts import facts, section, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Style, plain
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import count, duration, nanoseconds, rate, share

_QUANTILES = (0.5, 0.9, 0.99, 1.0)


class FunctionRows:
    def __init__(self, latest: Latest, functions: Functions) -> None:
        self.functions = functions
        self.rates = latest.function_rates
        self.total_ns = sum(functions.duration_ns)
        self.clock_ns = latest.clock_ns()

    def __len__(self) -> int:
        return len(self.functions)

    @classmethod
    def of(cls, latest: Latest) -> "FunctionRows | None":
        return cls(latest, latest.functions) if latest.functions is not None else None

    def rate(self, row: int) -> float:
        return self.rates.get(self.functions.number[row], (-1.0, 0.0))[0]

    def busy(self, row: int) -> float:
        return self.rates.get(self.functions.number[row], (0.0, 0.0))[1]

    def time_share(self, row: int) -> float:
        return self.functions.duration_ns[row] / self.total_ns if self.total_ns else 0.0

    def quantile(self, histograms: str, row: int, share_below: float) -> float:
        table: Histograms = getattr(self.functions, histograms)
        return quantile_ns(table[row], share_below) if row < len(table) else 0.0


def _failed_style(rows: FunctionRows, row: int) -> Style:
    return Style.BAD if rows.functions.failed[row] else Style.PLAIN


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    rows = FunctionRows.of(latest)
    functions = rows.functions if rows else Functions()
    row = next((row for row, number in enumerate(functions.number) if number == identity), None)
    if rows is None or row is None:
        return [title(f"function {identity}"), plain("it is not known any more")]
    return [
        title(functions.name[row]),
        *facts(
            [
                ("calls", str(functions.submitted[row])),
                ("succeeded", str(functions.succeeded[row])),
                ("failed", str(functions.failed[row])),
                ("cancelled", str(functions.cancelled[row])),
                ("on workers", str(functions.placed[row])),
                ("rate", f"{rate(rows.rate(row))}, which keep {rows.busy(row):.1f} workers busy"),
                ("time in all", f"{nanoseconds(functions.duration_ns[row])}, {share(rows.time_share(row))} of all"),
                ("last answer", f"{duration((rows.clock_ns - functions.last_ns[row]) / 1e9)} ago"
                 if functions.last_ns[row] else ""),
                ("client", "no client has it any more" if functions.is_gone[row] else ""),
                ("number", str(functions.number[row])),
            ]
        ),
        *section("how long calls take", _quantiles(rows, "durations", row)),
        *section("how long they wait for a worker, once they could run", _quantiles(rows, "queued", row)),
    ]  # fmt: skip


def _quantiles(rows: FunctionRows, histograms: str, row: int) -> list[Line]:
    values = [(each, rows.quantile(histograms, row, each)) for each in _QUANTILES]
    if not any(value for _, value in values):
        return []
    return facts(
        (f"{share(each)} at most" if each < 1 else "all at most", nanoseconds(value)) for each, value in values
    )


FUNCTIONS = View(
    name="functions",
    about="A row for each function. Durations are of calls; of a chunk of a map each call has the mean.",
    topics=("functions",),
    columns=(
        Column("function", "its name", 16, lambda rows, row: rows.functions.name[row],
               key="n", is_text=True, is_name=True, grows=True),
        Column("calls", "submitted", 8, lambda rows, row: rows.functions.submitted[row], count, key="w"),
        Column("rate", "calls that ended, a second", 8, lambda rows, row: rows.rate(row), rate, rank=2),
        Column("now", "calls that are on workers", 6, lambda rows, row: rows.functions.placed[row], count, key="d"),
        Column("failed", "calls that failed", 7, lambda rows, row: rows.functions.failed[row], count,
               style=_failed_style, key="f"),
        Column("time", "share of all time that calls have taken so far", 5,
               lambda rows, row: rows.time_share(row), share, key="c"),
        Column("p50", "half of its calls take at most so long", 6,
               lambda rows, row: rows.quantile("durations", row, 0.5), nanoseconds, key="m"),
        Column("p99", "99 of 100 calls take at most so long", 6,
               lambda rows, row: rows.quantile("durations", row, 0.99), nanoseconds, key="M"),
        Column("wait50", "half of its calls waited at most so long for a worker, once they could run", 6,
               lambda rows, row: rows.quantile("queued", row, 0.5), nanoseconds, rank=3, key="s"),
        Column("wait99", "99 of 100 calls waited at most so long", 6,
               lambda rows, row: rows.quantile("queued", row, 0.99), nanoseconds, rank=2, key="l"),
        Column("succeeded", "calls that returned", 9, lambda rows, row: rows.functions.succeeded[row], count, rank=5),
        Column("cancelled", "calls that were cancelled", 9,
               lambda rows, row: rows.functions.cancelled[row], count, rank=5),
        Column("workers", "how many workers it keeps busy", 7, lambda rows, row: rows.busy(row),
               lambda value: f"{value:.1f}", rank=4),
    ),
    rows_of=FunctionRows.of,
    identity=lambda rows, row: rows.functions.number[row],
    is_idle=lambda rows, row: not rows.functions.placed[row] and rows.rate(row) <= 0,
    details=_details,
    sort="time",
    searched=("function",),
)  # fmt: skip
