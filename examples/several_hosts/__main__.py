"""Three hosts on one machine: a scheduler and two clusters of workers. `python -m examples.several_hosts`.

Each "host" is a process with a host name and a shared memory (/dev/shm) of its own, which is what tells hosts apart for
Scaler. They have what real hosts would have: the commands, an address, and a folder of keys for each role.
It takes `unshare`, and the right to use it: root's, or a kernel that lets users have namespaces of their own.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaler import Client

COMMANDS = Path(sys.executable).parent
NAMESPACES = ["unshare", "--mount", "--uts", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
ENTER = 'mount -t tmpfs tmpfs /dev/shm && hostname "$1" && shift && exec "$@"'


@contextmanager
def host(name: str, command: str, *arguments: str) -> Iterator[None]:
    """A host of this name, on which this command runs; it ends with the block."""
    run = [*NAMESPACES, "--", "sh", "-c", ENTER, "sh", name, str(COMMANDS / command), *arguments]
    process = subprocess.Popen([*run, "--logging-level", "WARNING"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def free_address() -> str:
    """An address where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{one.getsockname()[1]}"


def look(table: NDArray[np.float64], row: int) -> tuple[str, float]:
    """On which host this ran, and the sum of a row."""
    time.sleep(0.02)
    return socket.gethostname(), float(table[row].sum())


def main(folder: Path) -> None:
    keys = folder / "keys"
    for words in ([str(keys)], ["split", str(keys)]):
        subprocess.run([COMMANDS / "scaler_keys", *words], check=True, stdout=subprocess.DEVNULL)
    address = free_address()
    with ExitStack() as stack:
        stack.enter_context(host("head", "scaler_scheduler", "--keys", f"{keys}/scheduler", address))
        for name in ("alpha", "beta"):
            stack.enter_context(host(name, "scaler_cluster", "--keys", f"{keys}/worker", "-n", "1", address))
        client = stack.enter_context(Client(address, keys=keys / "client"))

        table = np.arange(2_000_000, dtype=np.float64).reshape(100, -1)
        sent = client.send_object(table)  # 16 MB, which each host fetches once
        seen: set[str] = set()
        deadline = time.monotonic() + 60  # hosts join when they are ready
        while seen != {"alpha", "beta"}:
            rows = client.map(look, [(sent, row) for row in range(100)])
            assert [total for _, total in rows] == table.sum(axis=1).tolist()
            seen = {name for name, _ in rows}
            assert time.monotonic() < deadline, f"only {seen} have joined"
        print("tasks ran on", *sorted(seen))
        print(f"the rows add up to {sum(total for _, total in rows):,.0f} on both")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
