"""Numbers as people read them, in few cells."""

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_EXACT_BELOW = 10_000_000


def exact(number: int) -> str:
    """1,234,567."""
    return f"{number:,}"


def count(number: float) -> str:
    """Every digit up to seven of them, then 12.3M; --json and the details have all digits of all numbers."""
    if number < _EXACT_BELOW:
        return str(int(number))
    for unit, size in (("M", 1e6), ("G", 1e9), ("T", 1e12)):
        if number < 1000 * size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.1e}"


def size(number_bytes: float) -> str:
    """512, 1.5K, 300M, 8.0G: in powers of 1024."""
    if number_bytes < 1024:
        return str(int(number_bytes))
    for unit in "KMGTPE":
        number_bytes /= 1024
        if number_bytes < 1000 or unit == "E":
            return f"{number_bytes:.1f}{unit}" if number_bytes < 10 else f"{number_bytes:.0f}{unit}"
    raise AssertionError


def duration(seconds: float) -> str:
    """950ns, 12us, 1.5ms, 2.30s, 1m05s, 2h03m, 3d04h. No sign of a clock that goes back: what is below 0 is 0."""
    if not math.isfinite(seconds):
        return "?"
    seconds = max(0.0, seconds)
    if seconds < 60:
        for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3), ("s", 1.0)):
            number = seconds * factor
            if number < 999.5 or unit == "s":
                digits = 2 if unit == "s" and number < 9.995 else 1 if 0 < number < 9.95 and unit != "ns" else 0
                return f"{number:.{digits}f}{unit}" if number else "0"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def nanoseconds(number: float) -> str:
    return duration(number / 1e9)


def share(number: float) -> str:
    """31%; of one core, where it is about a processor."""
    return f"{100 * number:.0f}%" if math.isfinite(number) else "?"


def rate(per_second: float) -> str:
    """50,000/s, 3.2/s; below 0: not known yet."""
    if not math.isfinite(per_second) or per_second < 0:
        return "-"
    return f"{per_second:,.0f}/s" if per_second >= 10 or per_second == 0 else f"{per_second:.1f}/s"


def sparkline(values: Sequence[float], cells: int) -> str:
    """The last values as bars, one to a cell, the highest of them all being full; of nothing, nothing."""
    shown = [value if math.isfinite(value) else 0.0 for value in values[-cells:]] if cells > 0 else []
    most = max(shown, default=0.0)
    if most <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[round(max(0.0, value) / most * (len(_BARS) - 1))] for value in shown)
