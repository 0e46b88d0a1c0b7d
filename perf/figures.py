"""Figures: docs/figures.md, the table in README and plots, made from what was measured last: `make figures`.

A figure in the middle of an explanation is soon wrong, and nobody knows how it came about. So figures stand in these
places, and all are made from perf/record.json: the newest figures of each row, with the machine and the commit.

    python -m perf.figures            what is stale; nothing is written
    python -m perf.figures --write    pages and plots anew
    python -m perf.figures --take     first take the newest figures of each row from perf/results into the record

Rule 1: nobody writes a figure by hand: a row that was not measured stands in no page.
Rule 2: a row's figures are of one run, so that ratios were taken side by side.
Not here: what a row means (perf/README.md), how it is measured, how a plot is drawn (plots).
"""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from perf.plots import PLOTS, render
from perf.report import HERE, Figure, show

RECORD = HERE / "record.json"
ROOT = HERE.parent
PAGE = ROOT / "docs" / "figures.md"
README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "pictures"
BEGIN, END = "<!-- figures: made by `make figures` -->", "<!-- end of figures -->"
_INTRODUCTION = """\
# Figures

Generated from `perf/record.json` by `make figures`, after `make bench` or some of its rows.
[perf/README.md](../perf/README.md) says what each row means and how it is measured. Absolute figures move with the
machine and the hour: look at the ratios, which were taken side by side in one run. The worst is that of the rounds; a
target is a statement, and nothing asserts it. Measure on your own machine before you decide anything.
"""
# For README: what it is, the row, the figure of that row, and how it is said.
HEADLINES = (
    ("50,000 single calls: submitted, and all results read", "tasks.submit", "rings / Pool.apply_async",
     "{} times the rate of `Pool.apply_async`"),
    ("one call at a time, each waited for", "tasks.latency", "rings / Pool.apply", "{} times the time of `Pool.apply`"),
    ("a map over a million one-element tuples", "tasks.map", "rings / Pool.starmap",
     "{} times the rate of `Pool.starmap`"),
    ("single calls, as if to another host (no shared memory)", "tasks.submit", "wire / Pool.apply_async",
     "{} times the rate of `Pool.apply_async`"),
    ("a graph of 32,767 additions", "graph.tree", "rings / Pool", "{} times the rate of as many loose `Pool` calls"),
    ("the same graph", "peers.tree", "rings / Ray", "{} times the rate of Ray"),
    ("the same graph", "peers.tree", "rings / Dask", "{} times the rate of Dask's distributed scheduler"),
    ("a 100 MB array sent once, read by 20 tasks", "objects.shared", "rings / warm copy",
     "the time of {} copies of the array"),
    ("ten results of 100 MB", "peers.fetch", "rings / Ray", "{} times the rate of Ray"),
)  # fmt: skip

Record = dict[str, dict[str, Any]]
"""A row's name (`tasks.submit`) to its heading, command, machine and figures."""


def take(record: Record, results: Path) -> Record:
    """The record with the newest figures of each row that was measured there."""
    taken = dict(record)
    for path in sorted(results.glob("*.json")):  # by name, which is by date
        run = json.loads(path.read_text())
        if "program" not in run:
            continue  # from before files said so
        for row, figures in run["figures"].items():
            module = run["program"].removeprefix("perf").lstrip(".")
            taken[f"{module}.{row}" if module else row] = {
                "heading": run["headings"][row],
                "command": f"python -m {run['program']} {row}",
                "machine": run["machine"],
                "figures": [{**figure, "rounds": []} for figure in figures],
            }
    return taken


def render_page(record: Record) -> str:
    """docs/figures.md as it should be."""
    lines = [_INTRODUCTION]
    for row in sorted(record):
        entry = record[row]
        lines += [f"## {row}", "", f"{entry['heading']}. `{entry['command']}`", "", *_machine(entry["machine"]), ""]
        lines += ["| | median | worst | unit | target | |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [_line(Figure(**figure)) for figure in entry["figures"]]
        lines.append("")
    return "\n".join(lines)


def render_table(record: Record) -> str:
    """The table in README."""
    lines = ["| | Scaler, two workers | measured by |", "| --- | --- | --- |"]
    for what, row, name, words in HEADLINES:
        for figure in record.get(row, {"figures": []})["figures"]:
            if figure["what"] == name and figure["value"] is not None:
                lines.append(f"| {what} | {words.format(show(figure['value']))} | `{record[row]['command']}` |")
    return "\n".join(lines)


def with_table(readme: str, table: str) -> str:
    """README with this table in its place."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{README.name} has no place for figures: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _machine(machine: dict[str, Any]) -> list[str]:
    changed = " and changes since" if machine["changed_since"] else ""
    return [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']:.1f} before, Linux "
        f"{machine['kernel']}, Python {machine['python']}; commit {machine['commit']}{changed}, {machine['date'][:10]}."
    ]


def _line(figure: Figure) -> str:
    if figure.value is None:
        return f"| {figure.what} | not measured: {figure.why_not} | | | | |"
    worst = "" if figure.worst is None else show(figure.worst)
    target = "" if figure.target is None else ("at most " if figure.at_most else "at least ") + show(figure.target)
    return f"| {figure.what} | {show(figure.value)} | {worst} | {figure.unit} | {target} | {figure.verdict.lower()} |"


def main() -> int:
    parser = argparse.ArgumentParser("python -m perf.figures", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write docs/figures.md, README's table and the plots")
    parser.add_argument("--take", action="store_true", help="take the newest figures from perf/results into the record")
    arguments = parser.parse_args()
    record: Record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if arguments.take:
        record = take(record, HERE / "results")
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    stale = 0
    for path, should in (
        (PAGE, render_page(record)),
        (README, with_table(README.read_text(), render_table(record))),
        *((PICTURES / plot.file, render(plot, record[plot.row])) for plot in PLOTS if plot.row in record),
    ):
        is_now = path.read_text() if path.exists() else ""
        if arguments.write:
            path.write_text(should)
        elif is_now != should:
            stale += 1
            sys.stdout.writelines(difflib.unified_diff(
                is_now.splitlines(True), should.splitlines(True), str(path.relative_to(ROOT)), "as it should be"
            ))  # fmt: skip
            print(f"{path.relative_to(ROOT)} is stale: run `python -m perf.figures --write`")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
