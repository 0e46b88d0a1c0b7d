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


def test_threads_that_there_is_no_memory_for_are_an_error_that_names_the_limit(run_program):
    code = (
        "import resource\n"
        "from scaler.exceptions import LimitError\n"
        "from scaler.program.threads import check_threads\n"
        "check_threads(8)\n"
        "(used,) = [int(line.split()[1]) << 10 for line in open('/proc/self/status') if line.startswith('VmSize')]\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20),) * 2)\n"  # a thread's stack is 8 MiB
        "try:\n"
        "    check_threads(8)\n"
        "except LimitError as error:\n"
        "    print(f'{used + (20 << 20)} of bytes of memory (ulimit -v)' in str(error))\n"
    )
    ran = run_program(code, cwd="/", before=limited("-s 8192"))
    assert (ran.stdout, ran.stderr) == ("True\n", "")
