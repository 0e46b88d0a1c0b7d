"""Alarms: what is wrong, in words, the worst first, each with the view that shows more.

What the scheduler itself warns of comes first. The rest is what the page can see and the scheduler would not say.

Rule 1: an alarm names what is wrong, where, and since when or how much. It never says only a colour.
"""

from typing import NamedTuple

from scaler.monitor.page.history import History
from scaler.monitor.page.message import clean
from scaler.monitor.report import (
    CLIENT_DOES_NOT_READ,
    CLIENT_GONE,
    WORKER_FULL,
    WORKER_STOPPING,
    Clients,
    Failures,
    Hosts,
    Workers,
)

FULL_SHARE = 0.9
LATE_NS = 250_000_000
SILENT_S = 15.0
RECENT_NS = 60_000_000_000
MOST = 12


class Alarm(NamedTuple):
    """`view` is where to look."""

    text: str
    view: str


def alarms(history: History) -> list[dict[str, str]]:
    """For the overview."""
    found = [*_of_summary(history), *_of_hosts(history), *_of_clients(history), *_of_workers(history)]
    found += _of_failures(history)
    shown = [{"text": clean(each.text), "view": each.view} for each in found[:MOST]]
    if len(found) > MOST:
        shown.append({"text": f"and {len(found) - MOST} more", "view": ""})
    return shown


def _of_summary(history: History) -> list[Alarm]:
    summary = history.summary
    if summary is None:
        return []
    found = [Alarm(text, "") for text in summary.warnings]
    if not summary.workers and summary.counts.unassigned:
        found.append(Alarm(f"{summary.counts.unassigned:,} tasks wait and there is no worker", "hosts"))
    if summary.lag_ns > LATE_NS:
        found.append(Alarm(f"the scheduler's loop took {summary.lag_ns / 1e6:,.0f} ms for one pass", "settings"))
    return found


def _of_hosts(history: History) -> list[Alarm]:
    rows = history.find(Hosts)
    found = []
    for row in rows.rows() if rows is not None else ():
        for kind, words in (("memory", "memory"), ("shared_memory", "/dev/shm")):
            total, free = row[f"{kind}_total_bytes"], row[f"{kind}_free_bytes"]
            if total and free < (1 - FULL_SHARE) * total:
                found.append(Alarm(f"{words} of host {row['name']} is {1 - free / total:.0%} full", "hosts"))
        silent_s = (history.latest["hosts"].clock_ns - row["heard_ns"]) / 1e9
        if row["heard_ns"] and silent_s > SILENT_S:
            found.append(Alarm(f"host {row['name']} has not been heard of for {silent_s:,.0f} s", "hosts"))
    return found


def _of_clients(history: History) -> list[Alarm]:
    rows = history.find(Clients)
    found = []
    for row in rows.rows() if rows is not None else ():
        if row["state"] & CLIENT_DOES_NOT_READ and not row["state"] & CLIENT_GONE:
            found.append(Alarm(f"client {row['name']} does not read its {row['unread']:,} results", "clients"))
    return found


def _of_workers(history: History) -> list[Alarm]:
    rows = history.find(Workers)
    if rows is None:
        return []
    found = []
    for bit, words in ((WORKER_FULL, "no room in their rings"), (WORKER_STOPPING, "a task that is being stopped")):
        names = [name for name, state in zip(rows.name, rows.state, strict=True) if state & bit]
        if names:
            others = f" and {len(names) - 1} other workers have" if len(names) > 1 else " has"
            found.append(Alarm(f"worker {names[0]}{others} {words}", "workers"))
    return found


def _of_failures(history: History) -> list[Alarm]:
    rows = history.find(Failures)
    if rows is None or not len(rows):
        return []
    now = history.latest["failures"].clock_ns
    recent = [i for i, last in enumerate(rows.last_ns) if now - last < RECENT_NS]
    if not recent:
        return []
    worst = max(recent, key=lambda i: rows.count[i])
    more = f", and {len(recent) - 1} other kinds of failures" if len(recent) > 1 else ""
    text = f"in the last minute calls failed with {rows.exception[worst]} at {rows.place[worst]}{more}"
    return [Alarm(text, "failures")]
