"""What workers write to stderr: copied, and the last of it kept."""

import os
import subprocess
import sys
import threading

import pytest

from scaler.cluster.output import LAST_BYTES, LAST_LINES, Output
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
    output = Output(target[1])
    pipe, process = run(output, "import os; os.write(2, b'one\\ntw\\xff\\x1bo\\n')")
    process.wait()
    assert output.last(pipe) == "one\ntw\ufffd?o"
    output.close()
    assert os.read(target[0], 100) == b"one\ntw\xff\x1bo\n"


def test_of_a_flood_little_is_kept_and_all_is_copied(target):
    output = Output(target[1])
    taken = []
    reader = threading.Thread(
        target=lambda: [
            taken.append(os.read(target[0], 65536)) for _ in iter(lambda: sum(map(len, taken)) < 2_000_008, False)
        ]
    )
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
    output = Output(target[1])
    pipe, process = run(output, "import sys\nfor i in range(100): print(i, file=sys.stderr)")
    process.wait()
    assert output.last(pipe).split() == [str(i) for i in range(100 - LAST_LINES, 100)]
    output.close()


def test_a_reader_that_does_not_read_holds_up_neither_last_nor_close(target):
    output = Output(target[1])
    pipe, process = run(output, "import os\nwhile True: os.write(2, b'x' * 9999 + b'\\n')")
    wait_until(lambda: pipe.text())
    process.kill()
    process.wait()
    assert output.last(pipe).startswith("x")
    output.close()
    os.read(target[0], 1 << 20)


def test_a_pipe_that_others_hold_open_is_not_waited_for(target):
    output = Output(target[1])
    code = "import subprocess, sys\nsubprocess.Popen(['sleep', '30'])\nprint('bye', file=sys.stderr)"
    pipe, process = run(output, code, start_new_session=True)
    process.wait()
    assert output.last(pipe) == "bye"
    output.close()
    os.killpg(process.pid, 9)
