"""The command line that all benchmark modules share: which rows to run, and where their figures go."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from perf.links import LINKS
from perf.report import Figure, machine, print_figure, print_heading, print_machine, write_json

Rows = dict[str, Callable[[tuple[str, ...]], list[Figure]]]
"""A row's name to what measures it over some links. The first line of its docstring is its heading."""


def run_rows(program: str, rows: Rows, arguments: list[str], prepare: Callable[[], dict[str, Any]] = dict) -> int:
    """Run the rows named on the command line, or all; print as they are done, and write the file at the end.

    `prepare` is called first; what it returns is written beside what is known of the machine.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description="Measure; nothing is asserted.")
    parser.add_argument("rows", nargs="*", choices=[[], *rows], help="all, if none is named", metavar="row")
    parser.add_argument("--link", choices=LINKS, action="append", help="for end-to-end rows; both by default")
    parser.epilog = "rows: " + ", ".join(rows)
    chosen = parser.parse_args(arguments)
    links = tuple(chosen.link) if chosen.link else LINKS
    about = prepare() | machine()
    print_machine(about)
    sections: dict[str, list[Figure]] = {}
    start_s = time.monotonic()
    for name in chosen.rows or rows:
        print_heading(f"{name}: {_heading(rows, name)}")
        sections[name] = rows[name](links)
        for figure in sections[name]:
            print_figure(figure)
    for name, section in sections.items():
        for figure in section:
            if figure.value is None:
                print(f"\nNOT MEASURED in {name}: {figure.what}: {figure.why_not}", flush=True)
    path = write_json(program, about, sections, {name: _heading(rows, name) for name in sections})
    print(f"\n{time.monotonic() - start_s:.0f} s in all; written to {path}")
    return 0


def _heading(rows: Rows, name: str) -> str:
    return (rows[name].__doc__ or "").partition("\n")[0]


def main(program: str, rows: Rows, prepare: Callable[[], dict[str, Any]] = dict) -> None:
    sys.exit(run_rows(program, rows, sys.argv[1:], prepare))
