"""What a death looks like to whom it concerns."""

import json
import pickle

import pytest

from scaler.exceptions import ScalerError, WorkerDiedError
from scaler.values.died import died_error


def error_of(**facts):
    return died_error(0x70000000001, json.dumps(facts).encode(), "jobs.simulate")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"code": -11}, "ended by SIGSEGV: it touched memory that is not its own"),
        ({"code": -9}, "ended by SIGKILL."),
        ({"code": -9, "oom": True}, "killed by the kernel (SIGKILL), which had no memory left"),
        ({"code": 3}, "ended by itself, with exit code 3"),
        ({"code": -40}, "ended by signal 40"),
        ({"lost": True}, "nothing was heard of its host"),
        ({"lost": True, "leaving": True}, "ended with its cluster, which had been told to go"),
        ({"code": -9, "leaving": True}, "SIGKILL"),
        ({}, "how is not known"),
        ({"code": "x", "tries": [], "output": 5, "oom": "yes", "worker": None}, "how is not known"),
    ],
)
def test_it_says_how(facts, words):
    error = error_of(**facts)
    assert words in str(error)
    assert "jobs.simulate (task 0x70000000001)" in str(error)
    assert isinstance(error, WorkerDiedError)
    assert isinstance(error, ScalerError)


def test_it_says_all_that_is_known():
    error = error_of(worker="w-1", host="h", pid=7, code=-6, peak_bytes=3 << 30, output="a\nassert b\n", tries=4)
    for words in ("worker w-1 on h, process 7", "SIGABRT", "tried 4 times", "3,072 MiB", "\n    assert b"):
        assert words in str(error)
    assert (error.exit_code, error.signal_name, error.tries, error.memory_peak) == (None, "SIGABRT", 4, 3 << 30)
    assert (error.worker, error.host, error.function, error.last_output) == (
        "w-1",
        "h",
        "jobs.simulate",
        "a\nassert b\n",
    )


def test_it_can_be_sent_on():
    error = error_of(code=3, tries=1)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff"])
def test_whatever_comes_it_is_an_error_that_can_be_read(payload):
    assert "a function (task 0x1)" in str(died_error(1, payload, ""))
