"""What the demo shows: a progress bar on stderr, tables on stdout. No dependency."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from examples.census.counting import Census, Count

T = TypeVar("T")
BAR_COLUMNS = 30
MOST_PACKAGES = 20


def show_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Hand the items through. A bar if stderr is a terminal, otherwise a line per quarter: logs are read, too."""
    step = max(1, total // 200) if sys.stderr.isatty() else max(1, -(-total // 4))
    for number, item in enumerate(items, 1):
        yield item
        if number % step == 0 or number == total:
            _draw(what, number, total)


def _draw(what: str, number: int, total: int) -> None:
    if not sys.stderr.isatty():
        print(f"{what:<28}{number:>6} of {total} files", file=sys.stderr)
        return
    filled = BAR_COLUMNS * number // total
    bar = "█" * filled + "·" * (BAR_COLUMNS - filled)
    end = "\n" if number == total else ""
    print(f"\r{what:<28}{bar} {number:>6} of {total} files", end=end, file=sys.stderr, flush=True)


def show_census(census: Census) -> None:
    """A line per package, the largest first; what does not fit on a screen is summed up."""
    names = sorted(census, key=lambda name: (-census[name].lines, name))
    total, others = Count(), Count()
    columns = shutil.get_terminal_size((120, 24)).columns
    print(f"\n{'package':<18}{'files':>6}{'lines':>9}{'functions':>11}{'classes':>9}{'branches':>10}  most used names")
    for rank, name in enumerate(names):
        total.add(census[name])
        if rank < MOST_PACKAGES:
            _show_line(name, census[name], columns)
        else:
            others.add(census[name])
    if others.files:
        _show_line(f"{len(names) - MOST_PACKAGES} others", others, columns)
    _show_line("all", total, columns)
    print(f"{len(total.identifiers):,} different names; {total.unparsed} of {total.files} files could not be parsed\n")


def _show_line(name: str, count: Count, columns: int) -> None:
    by_use = sorted(count.identifiers.items(), key=lambda pair: (-pair[1], pair[0]))
    most_used = ", ".join(used for used, _ in by_use[:5])
    line = (
        f"{name[:17]:<18}{count.files:>6}{count.lines:>9,}{count.functions:>11,}{count.classes:>9,}{count.branches:>10,}"
        f"  {most_used}"
    )
    print(line[:columns])


def show_seconds(seconds_by_engine: dict[str, float]) -> None:
    """How long each way took, and how many times as fast as the first one it is."""
    first = next(iter(seconds_by_engine.values()))
    for engine, seconds in seconds_by_engine.items():
        print(f"{engine:<28}{seconds:>10.2f} s {first / seconds:>8.2f} x")


def show_rates(count: int, seconds_by_engine: dict[str, float]) -> None:
    """How many calls a second, and how many times as many as the first one."""
    first = next(iter(seconds_by_engine.values()))
    for engine, seconds in seconds_by_engine.items():
        print(f"{engine:<28}{count / seconds:>10,.0f} /s{first / seconds:>8.2f} x")


def show_waits(seconds_by_engine: dict[str, float]) -> None:
    """How long a single call takes, and how many times as long as with the first one."""
    first = next(iter(seconds_by_engine.values()))
    for engine, seconds in seconds_by_engine.items():
        print(f"{engine:<28}{seconds * 1e6:>10,.0f} us{seconds / first:>8.2f} x")
