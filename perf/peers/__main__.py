"""`make bench-peers`, or `python -m perf.peers` with the names of some rows.

Installs what is not there yet first. What cannot be had is named in the table and once more at the end.
"""

from typing import Any

from perf.command import main
from perf.peers import environments
from perf.peers.rows import ROWS


def install() -> dict[str, Any]:
    """Every environment; what stands in each."""
    return {"peers": {name: environments.describe(name) for name in environments.REQUIREMENTS}}


if __name__ == "__main__":
    main("perf.peers", ROWS, install)
