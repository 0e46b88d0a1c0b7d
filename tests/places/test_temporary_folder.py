"""Where shared memory or the temporary folder cannot be used, the other is; where neither can, a sentence says so."""

import pytest

from tests.places.narrow import (
    NO_MEMORY,
    NOBODYS_MEMORY,
    READ_ONLY_FOLDERS,
    READ_ONLY_MEMORY,
    as_other_user,
    limited,
    mounted,
)  # fmt: skip

CODE = """
import sys
from scaler import Client, Cluster, SchedulerClusterCombo

def grow(data, times):
    return data * times

def check(address):
    with Client(address, timeout_seconds=20) as client:
        reference = client.send_object(bytes(2_000_000))
        futures = [client.submit(grow, data, 2) for data in (bytes(3_000_000), reference)]
        print(*[len(future.result(20)) for future in futures])
        print(client.map(abs, [(-i,) for i in range(1000)])[-1])

if len(sys.argv) > 1:
    with Cluster(sys.argv[1], 1):
        check(sys.argv[1])
else:
    with SchedulerClusterCombo(1) as combo:
        check(combo.get_address())
"""
RIGHT = "6000000 4000000\n999\n"
NO_KEYS = "every user of this machine can connect"  # for want of a place for them, which is another matter
IN_FILES = "no shared memory in /dev/shm"
IN_MEMORY = "no temporary folder can be written to"
PLACES = {
    "read-only folders": (mounted(READ_ONLY_FOLDERS), IN_MEMORY),
    "read-only memory": (mounted(READ_ONLY_MEMORY), f"{IN_FILES} (Read-only file system)"),
    "another user's memory": ((*mounted(NOBODYS_MEMORY), *as_other_user()), f"{IN_FILES} (Permission denied)"),
    "no memory": (mounted(NO_MEMORY), f"{IN_FILES} (No such file or directory)"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_combo_uses_what_there_is_and_says_it_once(place, tmp_path, run_program):
    before, sentence = PLACES[place]
    ran = run_program(CODE, cwd="/", before=before)
    assert ran.stdout == RIGHT, ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if NO_KEYS not in line]
    assert sentence in line


@pytest.mark.parametrize("place", PLACES)
def test_a_cluster_and_a_client_use_what_there_is_and_say_it_at_most_once_each(place, address, run_program):
    before, sentence = PLACES[place]
    ran = run_program(CODE, address, cwd="/", before=before)
    assert ran.stdout == RIGHT, ran.stderr
    # On the wire each of them has memory of its own to care for; on rings the scheduler, which is in another place.
    assert ran.stderr.count(sentence) == ran.stderr.count("\n") <= 2


def test_where_neither_can_be_used_that_is_said(tmp_path, run_program):
    ran = run_program(CODE, cwd="/", before=mounted(f"{READ_ONLY_MEMORY}; {READ_ONLY_FOLDERS}"))
    assert ran.stdout == ""
    (last,) = ran.stderr.splitlines()[-1:]
    assert "no 4096 bytes of shared memory can be had: in /dev/shm Read-only file system" in last


def test_where_files_may_not_be_large_enough_for_rings_that_is_said(tmp_path, run_program):
    ran = run_program(CODE, cwd="/", before=limited("-f 100"))
    assert ran.stdout == ""
    (last,) = ran.stderr.splitlines()[-1:]
    assert "bytes of shared memory can be had: in /dev/shm File too large" in last
    assert "ulimit -f" in last


def test_where_files_are_large_enough_for_rings_and_not_for_an_object_the_task_fails_and_others_run(run_program):
    failing = "print(type(client.submit(grow, b'x', 9_000_000).exception(20)))"
    code = CODE.replace("        futures =", f"        {failing}\n        futures =")
    ran = run_program(code, cwd="/", before=limited("-f 7000"))
    assert ran.stdout == f"<class 'OSError'>\n{RIGHT}", ran.stderr
