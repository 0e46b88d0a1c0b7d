"""Tasks that take their worker along."""

import ctypes
import os
import sys
import time

import pytest

from scaler.exceptions import ProcessorDiedError
from tests.e2e import calls


def say_and_exit(code):
    print("I can't go on", file=sys.stderr)
    os._exit(code)


def touch_nothing():
    ctypes.string_at(0)


def flood_and_die():
    for _ in range(300):
        os.write(2, b"x" * 9999 + b"\n")
    os.kill(os.getpid(), 9)


def died(client, *call, retries=0):
    with pytest.raises(ProcessorDiedError) as caught:
        client.options(retries=retries).submit(*call).result(60)
    return caught.value


def test_one_that_exits_says_with_which_code(client):
    error = died(client, say_and_exit, 3)
    assert (error.exit_code, error.signal_name, error.tries) == (3, None, 1)
    assert error.function.endswith("say_and_exit")
    assert error.worker
    assert error.host
    assert error.memory_peak > 1 << 20
    assert error.last_output.splitlines()[-1] == "I can't go on"
    assert "exit code 3" in str(error)
    assert "I can't go on" in str(error)


def test_a_segfault_says_where_it_was(client):
    error = died(client, touch_nothing, retries=1)
    assert (error.exit_code, error.signal_name, error.tries) == (None, "SIGSEGV", 2)
    assert "touch_nothing" in error.last_output
    assert "tried 2 times" in str(error)


def test_one_that_is_killed_says_by_what(client):
    error = died(client, calls.die)
    assert (error.exit_code, error.signal_name, error.out_of_memory) == (None, "SIGKILL", False)


def test_a_flood_of_output_holds_nobody_up(client):
    error = died(client, flood_and_die)
    assert error.signal_name == "SIGKILL"
    assert len(error.last_output) <= 4096


def test_a_killer_among_good_ones_harms_none_of_them(client):
    good = [client.submit(calls.add_one, i) for i in range(5000)]
    killer = client.submit(calls.die)
    good += [client.submit(calls.add_one, i) for i in range(5000, 10_000)]
    assert [future.result(60) for future in good] == list(range(1, 10_001))
    with pytest.raises(ProcessorDiedError, match="tried 4 times"):
        killer.result(60)
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_one_that_is_cancelled_while_its_end_is_looked_into_is_cancelled(client):
    future = client.options(retries=0).submit(calls.die)
    time.sleep(0.02)
    assert future.cancel() or future.exception() is not None
    assert client.submit(calls.add_one, 1).result(20) == 2


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_in_a_map_only_the_call_that_kills_fails_and_as_often_as_it_may(client, tmp_path, retries):
    client.map(calls.add_one, [(i,) for i in range(1000)])  # chunks are large by now
    path, deadly, last = tmp_path / "marks", 1500, 2999
    with pytest.raises(ProcessorDiedError, match="note_and_die_at"):
        client.options(retries=retries).map(calls.note_and_die_at, [(str(path), i, deadly) for i in range(last + 1)])
    ran = [int(line) for line in path.read_text().split()]
    assert set(range(deadly)) <= set(ran)
    assert ran.count(deadly) == retries + 1
    if retries == 0:
        assert len(ran) == len(set(ran))


def die_once(path, number, deadly):
    first = not os.path.exists(path)
    if number == deadly and first:
        calls.note(path, 1)
        calls.die()
    return number * 2


def test_a_map_whose_worker_dies_once_has_all_its_results(client, tmp_path):
    items = [(str(tmp_path / "died"), i, 700) for i in range(2000)]
    assert client.map(die_once, items) == [2 * i for i in range(2000)]
    mutable = [(str(tmp_path / "again"), [i], [300]) for i in range(1000)]
    assert client.map(die_once, mutable) == [[i, i] for i in range(1000)]
