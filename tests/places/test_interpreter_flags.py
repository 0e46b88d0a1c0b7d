"""What the interpreter was started with holds in the workers too, as with multiprocessing."""

import pytest

CODE = """
import sys
from scaler import Client, Cluster, Scheduler

def flags():
    import subprocess, sys
    return subprocess._args_from_interpreter_flags(), list(sys.flags), sys._xoptions, sys.warnoptions

def check(address):
    with Cluster(address, 1), Client(address, timeout_seconds=20) as client:
        print(client.submit(flags).result(20) == flags(), client.submit(eval, "__debug__").result(20))

if len(sys.argv) > 1:
    check(sys.argv[1])
else:
    with Scheduler() as scheduler:
        check(scheduler.get_address())
"""
FLAGS = [("-W", "error"), ("-O",), ("-OO", "-B"), ("-I",), ("-P",), ("-X", "dev"), ("-X", "utf8", "-bb"), ("-E", "-s")]


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_flags_reach_the_workers_and_do_not_keep_anything_from_starting(flags, tmp_path, run_program):
    ran = run_program(CODE, cwd=tmp_path, flags=flags)
    assert (ran.stdout, ran.stderr) == (f"True {not flags[0].startswith('-O')}\n", "")


def test_flags_reach_workers_of_a_scheduler_elsewhere(tmp_path, run_program, address):
    ran = run_program(CODE, address, cwd=tmp_path, flags=("-O", "-W", "error::UserWarning", "-P"))
    assert (ran.stdout, ran.stderr) == ("True False\n", "")
