"""What tasks write comes to their own client, and to nobody else: over rings and over the wire, with real processes."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.exceptions import ProcessorDiedError
from tests.e2e import written
from tests.processes import wait_until

LINE = re.compile(r"\((\S+) (0x[0-9a-f]+) (\S+)\) (.*)")


@pytest.fixture
def seen(cluster, capfd):
    """A client that wants to see its tasks' output, and a function that says what it has seen so far, line by line."""
    parts = []

    def look():
        parts.append(capfd.readouterr().err)
        return [match for match in map(LINE.fullmatch, "".join(parts).splitlines()) if match]

    client = Client(cluster.get_address(), timeout_seconds=20, stream_output=True)
    yield client, look
    client.disconnect()


def texts(found):
    return [match[4] for match in found]


def test_all_that_a_task_writes_comes_in_order_with_function_task_and_worker(seen):
    client, look = seen
    future = client.submit(written.say_in_every_way, 7)
    future.result()
    client.disconnect()
    found = look()
    assert sorted(texts(found)) == sorted(
        f"7 {way}" for way in ("print", "error", "descriptor", "C", "process", "thread", "no end")
    )
    order = texts(found)
    assert order.index("7 print") < order.index("7 error") < order.index("7 descriptor") < order.index("7 process")
    assert {match[1] for match in found} == {"say_in_every_way"}
    assert {match[2] for match in found} == {hex(future.task_id)}
    assert all(match[3] for match in found)


def test_it_comes_while_the_task_runs(seen):
    client, look = seen
    client.submit(written.say, "at once").result()
    wait_until(lambda: texts(look()) == ["at once"])


def test_equal_lines_are_all_there(seen):
    client, look = seen
    client.map(written.say, [("again",)] * 200)
    client.disconnect()
    assert texts(look()) == ["again"] * 200


def test_another_client_sees_nothing_and_one_that_has_not_asked_neither(cluster, seen, capfd):
    client, look = seen
    with Client(cluster.get_address()) as quiet, Client(cluster.get_address(), stream_output=True) as other:
        for number in range(20):
            futures = [
                client.submit(written.say, f"mine {number}"),
                quiet.submit(written.say, f"quiet {number}"),
                other.submit(written.say, f"other {number}"),
            ]
            for future in futures:
                future.result()
        client.disconnect()
        mine = texts(look())
    assert sorted(text for text in mine if text.startswith("mine")) == sorted(f"mine {number}" for number in range(20))
    assert not [text for text in mine if text.startswith("quiet")]
    assert sorted(text for text in texts(look()) if text.startswith("other")) == sorted(
        f"other {number}" for number in range(20)
    )


def test_what_a_killed_worker_wrote_last_is_there(seen):
    client, look = seen
    with pytest.raises(ProcessorDiedError) as raised:
        client.options(retries=0).submit(written.say_and_die, "farewell").result()
    client.disconnect()
    assert texts(look()) == ["farewell"]
    assert "farewell" in raised.value.last_output


def test_tasks_of_tasks_write_to_the_client_of_them_all_each_line_once(seen):
    client, look = seen
    count = client.submit(written.say_below, client, 5).result()
    client.disconnect()
    said = texts(look())
    assert len(said) == count == 2**6 - 1
    assert [said.count(f"depth {depth}") for depth in range(6)] == [32, 16, 8, 4, 2, 1]


def test_a_process_that_a_task_has_left_behind_writes_to_no_other_client(cluster, seen):
    client, look = seen
    client.map(written.say_behind, [("left behind",)] * 2)
    deadline = time.monotonic() + 1.0
    with Client(cluster.get_address()) as quiet:
        while time.monotonic() < deadline:
            quiet.map(written.say, [("quiet",)] * 2)
    client.disconnect()
    assert texts(look()) == ["left behind"] * 2


def test_lines_that_are_read_and_lines_that_are_said_to_be_missing_are_all_that_were_written(cluster):
    program = subprocess.run(
        [sys.executable, written.__file__, cluster.get_address(), "many"], capture_output=True, text=True, timeout=120
    )
    assert program.stdout == "200000\n", program.stderr[-2000:]
    lines = program.stderr.splitlines()
    stated = [re.fullmatch(r"\(scaler: (\d+) lines are left out here: .*\)", line) for line in lines]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(a or b for a, b in zip(stated, found, strict=True)), "a line is torn"
    said = [match[4] for match in found if match]
    assert len(set(said)) == len(said)
    assert all(re.fullmatch(r"\d+:\d+", text) for text in said)
    assert len(said) + sum(int(match[1]) for match in stated if match) == 200_000
    for number in range(16):  # in order
        places = [int(text.partition(":")[2]) for text in said if text.startswith(f"{number}:")]
        assert places == sorted(places)


def test_bars_of_tqdm_stay_below_the_lines(cluster):
    program = subprocess.run(
        [sys.executable, written.__file__, cluster.get_address(), "tqdm"], capture_output=True, text=True, timeout=60
    )
    assert program.returncode == 0, program.stderr
    lines = [line.rpartition("\r")[2] for line in program.stderr.split("\n")]
    assert sorted(match[4] for match in map(LINE.fullmatch, lines) if match) == sorted(f"line {n}" for n in range(50))


def test_a_cluster_that_does_not_answer_is_not_waited_for_long_and_that_is_said(capfd):
    with SchedulerClusterCombo(1) as combo:
        client = Client(combo.get_address(), stream_output=True)
        supervisor = client.submit(os.getppid).result()
        os.kill(supervisor, signal.SIGSTOP)
        try:
            client.disconnect()
        finally:
            os.kill(supervisor, signal.SIGCONT)
    assert (
        "(scaler: what tasks have written last may be missing here: the cluster that was asked"
        in capfd.readouterr().err
    )
