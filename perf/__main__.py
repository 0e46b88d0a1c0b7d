"""All of it: `make bench`, or `python -m perf` with the names of some modules' rows."""

from perf import (
    behaviour,
    bounds,
    core,
    cpp,
    fairness,
    footprint,
    graph,
    home,
    keys,
    looking,
    monitor,
    nested,
    objects,
    ring,
    strangers,
    tasks,
)
from perf.command import Rows, main

MODULES = (
    ring,
    core,
    tasks,
    home,
    graph,
    nested,
    objects,
    behaviour,
    fairness,
    footprint,
    looking,
    monitor,
    bounds,
    keys,
    strangers,
    cpp,
)
ROWS: Rows = {
    f"{module.__name__.rpartition('.')[2]}.{name}": row for module in MODULES for name, row in module.ROWS.items()
}

if __name__ == "__main__":
    main("perf", ROWS)
