"""Too few processes, threads or descriptors: a sentence that names the limit, and no library that ends the process."""

import pytest

from tests.places.narrow import as_other_user, limited

COMBO = """
from scaler import Client, SchedulerClusterCombo
with SchedulerClusterCombo(1) as combo, Client(combo.get_address(), timeout_seconds=20) as client:
    print(client.submit(abs, -1).result(20))
"""
CLIENT = """
import sys
from scaler import Client
with Client(sys.argv[1], timeout_seconds=20) as client:
    print(1)
"""


def assert_works_or_says(ran, limit):
    """Whether it worked."""
    assert ran.returncode in (0, 1), ran.stderr
    if ran.returncode == 0:
        assert ran.stdout == "1\n", ran.stderr
    else:
        assert limit in ran.stderr.splitlines()[-1], ran.stderr
    return ran.returncode == 0


def test_a_combo_with_too_few_processes_says_so(tmp_path, run_program):
    worked = [
        assert_works_or_says(run_program(COMBO, cwd="/", before=as_other_user(f"-u {number}")), "(ulimit -u)")
        for number in (1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 40)
    ]
    assert worked[0] is False
    assert worked[-1] is True


def test_a_client_with_too_few_threads_says_so(address, run_program):
    worked = [
        assert_works_or_says(run_program(CLIENT, address, cwd="/", before=as_other_user(f"-u {number}")), "(ulimit -u)")
        for number in (1, 2, 3, 4, 20)
    ]
    assert worked[0] is False
    assert worked[-1] is True


@pytest.mark.parametrize("number", [16, 18, 20, 24, 28, 32, 36, 64])
def test_a_combo_with_too_few_descriptors_says_so(number, run_program):
    worked = assert_works_or_says(run_program(COMBO, cwd="/", before=limited(f"-n {number}")), "(ulimit -n)")
    assert worked is (number == 64)


@pytest.mark.parametrize("kilobytes", [60_000, 200_000])
def test_a_combo_with_too_little_address_space_says_so_or_works(kilobytes, run_program):
    assert_works_or_says(run_program(COMBO, cwd="/", before=limited(f"-v {kilobytes}")), "(ulimit -v)")
