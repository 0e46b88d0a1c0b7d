"""The screens and tables in docs/top.md are made by scaler_top itself: `python -m tests.checks.top` fails if they are
stale.

With `--write` they are written anew. A screen is what the viewer makes of a pretended cluster's reports; that a real
terminal shows the same is tested (tests/monitor/top/test_tmux.py).
"""

import argparse
import difflib
import os
import re
import sys
import time
from pathlib import Path

from scaler.monitor.report import Report, Stack, Tally, Task
from scaler.monitor.top.guide import names_of
from scaler.monitor.top.keys import KEYS
from scaler.monitor.top.line import text_of
from scaler.monitor.top.settings import Settings
from scaler.monitor.top.table import View
from scaler.monitor.top.viewer import Viewer
from scaler.monitor.top.views import VIEWS
from scaler.monitor.top.views.scheduler import COUNTS
from tests.monitor.pretended import PretendedCluster

PAGE = Path(__file__).parents[2] / "docs" / "top.md"
BLOCK = re.compile(r"(<!-- made by `make top-page`: (\w+) -->\n)(.*?)(<!-- so far -->\n)", re.DOTALL)
ADDRESS = "tcp://127.0.0.1:2347"
NOON_NS = 1_767_268_800 * 10**9  # 2026-01-01 12:00:00 UTC
CELLS = 110


def render(name: str) -> str:
    """What stands in the block of this name."""
    if name == "keys":
        return _keys()
    if name == "counts":
        return _counts()
    view = next((view for view in VIEWS if view.name == name), None)
    if view is not None:
        return f"{view.about}\n\n{_screen(view)}\n{_columns(view)}"
    return _PAGES[name]()


def _viewer(view: str) -> Viewer:
    os.environ["TZ"] = "UTC"
    time.tzset()
    cluster = PretendedCluster(workers=9, rate=2000)
    cluster.wall_ns = NOON_NS
    viewer = Viewer(ADDRESS, Settings(view=view))
    for _ in range(12):
        cluster.go_on()
        for report in cluster.reports():
            viewer.latest.on_report(report)
    viewer.arrange()
    return viewer


def _shown(viewer: Viewer, lines: int) -> str:
    frame = [text_of(line).rstrip() for line in viewer.frame(CELLS, lines)]
    while "" in frame[-2:-1]:
        del frame[-2]
    return "\n".join(["```text", *frame, "```", ""])


def _screen(view: View) -> str:
    return _shown(_viewer(view.name), 20)


def _help() -> str:
    viewer = _viewer("workers")
    viewer.on_key("?")
    return _shown(viewer, 24)


def _worker() -> str:
    viewer = _viewer("workers")
    viewer.on_key("Enter")
    page = viewer.page
    assert page is not None
    answers = (
        Task(
            task=page.task, state="placed", sentence="it has been running on alpha-0000 for 752 ms",
            facts=Tally.of({"attempt": 1, "priority": 0}), function_name="census.count_words", worker_name="alpha-0000",
        ),
        Stack(task=page.task, text='  File "/srv/census.py", line 10, in count_words\n    for word in text.split():'),
    )  # fmt: skip
    for answer in answers:
        latest = viewer.latest
        viewer.latest.on_report(Report(latest.epoch, 12, latest.wall_ns(), latest.clock_ns(), answer))
    return _shown(viewer, 48)


def _failure() -> str:
    viewer = _viewer("failures")
    viewer.on_key("Enter")
    return _shown(viewer, 30)


_PAGES = {"help": _help, "worker": _worker, "failure": _failure}


def _columns(view: View) -> str:
    lines = ["| column | key | what it is |", "| --- | --- | --- |"]
    lines += [
        f"| {column.name} | {f'`{column.key}`' if column.key else ''} | {column.about} |" for column in view.columns
    ]
    return "\n".join([*lines, ""])


def _keys() -> str:
    lines = ["| key | what it does |", "| --- | --- |"]
    lines += [f"| `{names_of(key)}` | {key.about} |" for key in KEYS]
    return "\n".join([*lines, ""])


def _counts() -> str:
    lines = ["| count | calls that |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {about} |" for name, about in COUNTS.items()]
    return "\n".join([*lines, ""])


def rendered(page: str) -> str:
    """The page as it should be."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{render(found[2])}\n{found[4]}", page)


def main() -> int:
    parser = argparse.ArgumentParser(description="compare docs/top.md with what scaler_top shows")
    parser.add_argument("--write", action="store_true", help="write it instead")
    found = PAGE.read_text()
    expected = rendered(found)
    missing = {"keys", "counts", *_PAGES, *(view.name for view in VIEWS)} - {each[1] for each in BLOCK.findall(found)}
    if missing:
        print(f"docs/top.md has no place for {', '.join(sorted(missing))}")
        return 1
    if parser.parse_args().write:
        PAGE.write_text(expected)
        return 0
    if found != expected:
        names = "docs/top.md", "as scaler_top has it"
        print("\n".join(difflib.unified_diff(found.splitlines(), expected.splitlines(), *names, n=0, lineterm="")))
        print("docs/top.md is stale: run `make top-page`")
    return int(found != expected)


if __name__ == "__main__":
    sys.exit(main())
