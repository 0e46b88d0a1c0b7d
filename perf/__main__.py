"""All of it: `make bench`, or `python -m perf` with the names of some modules' rows."""

from perf import core, ring, tasks
from perf.command import main

ROWS = {
    **{f"ring.{name}": row for name, row in ring.ROWS.items()},
    **{f"core.{name}": row for name, row in core.ROWS.items()},
    **{f"tasks.{name}": row for name, row in tasks.ROWS.items()},
}

if __name__ == "__main__":
    main("perf", ROWS)
