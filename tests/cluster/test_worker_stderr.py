"""What workers write to stderr: copied, and the last of it kept."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from scaler.cluster import worker_stderr as output_module
from scaler.cluster.worker_stderr import LAST_BYTES, LAST_LINES, MOST_UNSAID_BYTES, WorkerStderr
from tests.processes import wait_until


@pytest.fixture
def target():
    """A pipe that stands for the supervisor's stderr."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def run(output, code, **options):
    """A process whose stderr goes there, once it has ended."""
    pipe = output.open()
    process = subprocess.Popen([sys.executable, "-c", code], stderr=pipe.write_end, **options)
    pipe.started()
    return pipe, process


def test_it_is_copied_and_the_last_is_kept(target):
    output = WorkerStderr(target[1])
    pipe, process = run(output, "import os; os.write(2, b'one\\ntw\\xff\\x1bo\\n')")
    process.wait()
    assert output.last(pipe) == "one\ntw\ufffd?o"
    output.close()
    assert os.read(target[0], 100) == b"one\ntw\xff\x1bo\n"


def test_of_a_flood_little_is_kept_and_all_is_copied(target):
    output = WorkerStderr(target[1])
    taken = []

    def read():
        read_bytes = 0
        while read_bytes < 2_000_008:
            taken.append(os.read(target[0], 65536))
            read_bytes += len(taken[-1])

    reader = threading.Thread(target=read)
    reader.start()
    pipe, process = run(
        output, "import os\nfor i in range(200): os.write(2, b'x' * 9999 + b'\\n')\nos.write(2, b'the end\\n')"
    )
    process.wait(60)
    last = output.last(pipe)
    output.close()
    reader.join(20)
    assert len(last.encode()) <= LAST_BYTES
    assert last.endswith("the end")
    assert sum(map(len, taken)) == 2_000_008


def test_only_the_last_lines_are_kept(target):
    output = WorkerStderr(target[1])
    pipe, process = run(output, "import sys\nfor i in range(100): print(i, file=sys.stderr)")
    process.wait()
    assert output.last(pipe).split() == [str(i) for i in range(100 - LAST_LINES, 100)]
    output.close()


def test_a_reader_that_does_not_read_holds_up_neither_last_nor_close(target):
    output = WorkerStderr(target[1])
    pipe, process = run(output, "import os\nwhile True: os.write(2, b'x' * 9999 + b'\\n')")
    wait_until(lambda: pipe.text())
    process.kill()
    process.wait()
    assert output.last(pipe).startswith("x")
    output.close()
    os.set_blocking(target[0], False)
    assert output._thread is not None
    while output._thread.is_alive():  # it writes to this number, which another pipe is about to have
        with contextlib.suppress(BlockingIOError):
            os.read(target[0], 1 << 20)
        time.sleep(0.01)


def test_of_what_the_dead_have_written_little_waits_for_a_reader_and_what_is_lost_is_counted(target):
    output = WorkerStderr(target[1])
    data = b"x" * 59_999 + b"\n"
    for _ in range(100):
        pipe = output.open()
        assert os.write(pipe.write_end, data) == len(data)
        pipe.started()
        assert output.last(pipe).endswith("x")
        assert sum(map(len, output._unsaid)) <= MOST_UNSAID_BYTES
    text, lost = b"", 0
    while text.count(b"x") + lost // 60_000 * 59_999 < 100 * 59_999:
        text += os.read(target[0], 65536)
        lost = sum(map(int, re.findall(rb"\((\d+) bytes that workers wrote last are missing", text)))
    output.close()
    assert text.count(b"x") + lost // 60_000 * 59_999 == 100 * 59_999
    assert lost > 0


def test_the_thread_goes_on_whatever_one_turn_of_it_comes_to(target, monkeypatch, caplog):
    monkeypatch.setattr(output_module, "PAUSE_S", 0.01)
    output = WorkerStderr(target[1])
    real_take, turns = output._take, []

    def take(descriptor):
        turns.append(descriptor)
        if len(turns) == 1:
            raise RuntimeError("odd")
        return real_take(descriptor)

    monkeypatch.setattr(output, "_take", take)
    pipe, process = run(output, "import os; os.write(2, b'hello')")
    process.wait()
    assert os.read(target[0], 100) == b"hello"
    assert caplog.text.count("RuntimeError: odd") == 1
    output.last(pipe)
    output.close()


def test_a_pipe_that_others_hold_open_is_not_waited_for(target):
    output = WorkerStderr(target[1])
    code = "import subprocess, sys\nsubprocess.Popen(['sleep', '30'])\nprint('bye', file=sys.stderr)"
    pipe, process = run(output, code, start_new_session=True)
    process.wait()
    assert output.last(pipe) == "bye"
    output.close()
    os.killpg(process.pid, 9)
