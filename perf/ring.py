"""One ring between two processes: how many records a second, and how long one takes to wake the reader.

The two ends are loops in C (native/drill.pyx), so that it is the ring that is measured.
"""

import multiprocessing
import os
import time

from perf.command import Rows, main
from perf.report import Figure, of_rounds
from perf.rounds import ROUNDS
from scaler._native import PAGE, Ring, RingOutlet, Segment, drill_consume, drill_hops, drill_produce
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.names import new_epoch, segment_name

RECORDS = 2_000_000
HOPS = 3_000
RING_BYTES = 262144
SECOND_RING = PAGE + 512 * 1024
SLEEPING = (0, 64)  # in the segment's first page: one word for each process

_fork = multiprocessing.get_context("fork")


def shared_memory() -> Segment:
    """Room for two rings; its name is gone at once, so nothing is left whatever happens."""
    name = segment_name(new_epoch())
    memory = Segment.create(name, 2 * SECOND_RING)
    Segment.unlink(name)
    return memory


def rate(payload_bytes: int, claims: bool) -> float:
    """Records per second from one process to another."""
    memory = shared_memory()
    # The reader begins when it sees the first record, so starting the writer does not count.
    writer = _fork.Process(target=lambda: drill_produce(Ring(memory, PAGE, RING_BYTES), RECORDS, payload_bytes))
    reader = Ring(memory, PAGE, RING_BYTES)
    writer.start()
    while reader.positions[0] == 0:
        time.sleep(0)
    start = time.perf_counter()
    drill_consume(reader, RECORDS, claims)
    seconds = time.perf_counter() - start
    writer.join()
    return RECORDS / seconds


def hop_us(cores: tuple[int, int]) -> float:
    """From the writing of a record until a sleeping process has read it, waking included; each kept on its core."""
    memory = shared_memory()
    bells = [new_doorbell(), new_doorbell()]
    offsets = (PAGE, SECOND_RING)

    def throw(me: int) -> float:
        other = 1 - me
        out = RingOutlet(Ring(memory, offsets[me], RING_BYTES), memory, SLEEPING[other], bells[other])
        into = Ring(memory, offsets[other], RING_BYTES)
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {cores[me]})
        try:
            ns: float = drill_hops(out, into, memory, SLEEPING[me], bells[me], HOPS, me == 0)
        finally:
            os.sched_setaffinity(0, everywhere)
        return ns / 1000

    other = _fork.Process(target=lambda: throw(1))
    other.start()
    us = throw(0)
    other.join()
    for bell in bells:
        os.close(bell)
    return us


def records(links: tuple[str, ...]) -> list[Figure]:
    """from one process to another, through one ring of 256 KiB"""

    def rounds(what: str, payload_bytes: int, claims: bool) -> Figure:
        return of_rounds(what, [rate(payload_bytes, claims) for _ in range(ROUNDS)], "records/s")

    return [
        rounds("payload of 8 bytes, read in passing, as results are", 8, False),
        rounds("payload of 8 bytes, each claimed, as tasks are", 8, True),
        rounds("payload of 1,000 bytes, each claimed", 1000, True),
    ]


def hop(links: tuple[str, ...]) -> list[Figure]:
    """from writing a record until the other process, woken by its doorbell, has read it: half a round trip"""
    cores = sorted(os.sched_getaffinity(0))
    places = [("on the same core", (cores[0], cores[0]))]
    if len(cores) > 1:
        places.append(("to another core", (cores[0], cores[1])))
    return [of_rounds(where, [hop_us(pair) for _ in range(ROUNDS)], "us", at_most=True) for where, pair in places]


ROWS: Rows = {"records": records, "hop": hop}

if __name__ == "__main__":
    main("perf.ring", ROWS)
