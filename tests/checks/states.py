"""The states of a task in docs/architecture.md are made from the core's table: `python -m tests.checks.states` fails if
they are stale.

With `--write` they are written anew. The table is native/scheduler/states.pyx, as the built extension has it.
"""

import argparse
import difflib
import sys
from pathlib import Path

from scaler._native import states, transitions

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
BEGIN = "<!-- made from native/scheduler/states.pyx by `make states` -->\n"
END = "<!-- so far -->\n"
_MANY = 5  # states that an event may begin with, from which on they are not named one by one


def render() -> str:
    """What stands between the two marks."""
    lines = ["| a task is | that is |", "| --- | --- |"]
    lines += [f"| {name} | {words} |" for name, words in states() if name != "FREE"]
    lines += ["", "| what happens to a task | it was | then it is | when |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {event} | {_names(before)} | {_name(after)} | {words} |" for event, words, before, after in transitions()
    ]
    return "\n".join(["", *lines, "", ""])


def _name(state: str) -> str:
    return "-" if state == "FREE" else state


def _names(before: list[str]) -> str:
    """Of the states before an event: all of them, or if that is shorter, those that are missing."""
    missing = [name for name, _ in states() if name != "FREE" and name not in before]
    if len(before) <= _MANY or len(missing) > _MANY:
        return ", ".join(map(_name, before))
    return "any but " + ", ".join(missing) if missing else "any"


def find_stale(page: str) -> tuple[str, str]:
    """What stands on the page, and what should."""
    _, mark, rest = page.partition(BEGIN)
    found, end, _ = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{PAGE.name} has no place between {BEGIN!r} and {END!r}")
    return found, render()


def main() -> int:
    parser = argparse.ArgumentParser(description="compare the states of a task in docs/architecture.md with the core's")
    parser.add_argument("--write", action="store_true", help="write them instead")
    page = PAGE.read_text()
    found, expected = find_stale(page)
    if parser.parse_args().write:
        PAGE.write_text(page.replace(BEGIN + found + END, BEGIN + expected + END))
        return 0
    if found != expected:
        names = "docs/architecture.md", "as the core has it"
        print("\n".join(difflib.unified_diff(found.splitlines(), expected.splitlines(), *names, n=0, lineterm="")))
        print("the states of a task in docs/architecture.md are stale: run `make states`")
    return int(found != expected)


if __name__ == "__main__":
    sys.exit(main())
