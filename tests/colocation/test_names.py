"""Names of segments: the killed owners' go, those of the living stay, whoever looks and when."""

import os
import subprocess
import sys
import threading

from scaler._native import Segment
from scaler.colocation.names import BellPage, new_epoch, segment_name, sweep_orphans


def lies_there(name):
    return os.path.exists(f"/dev/shm/{name}")


def test_segments_of_a_killed_owner_are_swept_and_those_of_the_living_are_not():
    code = (
        "import os; from scaler._native import Segment\n"
        "from scaler.colocation.names import BellPage, new_epoch, segment_name\n"
        "epoch = new_epoch(); page = BellPage(epoch); name = segment_name(epoch); Segment.create(name, 4096)\n"
        "print(page.name, name, flush=True); os.kill(os.getpid(), 9)"
    )
    names = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout.split()
    epoch = new_epoch()
    page = BellPage(epoch)
    own = segment_name(epoch)
    Segment.create(own, 4096)
    sweep_orphans()
    assert not any(map(lies_there, names))
    assert lies_there(page.name)
    assert lies_there(own)
    Segment.unlink(own)
    page.close()
    assert not lies_there(page.name)


def test_what_is_no_life_is_not_swept():
    names = [f"scaler-{epoch}-{rest}" for epoch in ("0123", "g" * 16, "0" * 17) for rest in ("bell", "more")]
    try:
        for name in names:
            Segment.create(name, 4096)
        sweep_orphans()
        assert all(map(lies_there, names))
    finally:
        for name in names:
            Segment.unlink(name)


def test_a_page_stays_though_others_sweep_while_it_is_made():
    stop = threading.Event()

    def sweep():
        while not stop.is_set():
            sweep_orphans()

    sweepers = [threading.Thread(target=sweep) for _ in range(4)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        pages = [BellPage(new_epoch()) for _ in range(100)]
        missing = [page.name for page in pages if not lies_there(page.name)]
    finally:
        stop.set()
        for sweeper in sweepers:
            sweeper.join()
    for page in pages:
        page.close()
    assert not missing
