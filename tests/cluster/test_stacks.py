"""What is made of a worker's answer: which frames are shown, in which order, and how much of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import scaler.worker.main
from scaler.cluster.stacks import MOST_STACK_BYTES, Asked, StackReader, describe
from tests.cluster import busy_child

MAIN = scaler.worker.main.__file__
WORKER = Asked(-1, 123, "00ff", "w-1")


def dump(*frames, thread=1):
    """As faulthandler writes it: the innermost frame first."""
    lines = [f'  File "{file}", line {line} in {function}' for file, line, function in frames]
    return "\n".join([f"thread {thread}", "Stack (most recent call first):", *lines]) + "\n"


def test_the_outermost_call_comes_first_and_what_runs_the_task_is_left_out():
    text = describe(
        WORKER, dump(("/a.py", 3, "inner"), ("/b.py", 4, "outer"), (MAIN, 150, "main"), ("/x.py", 1, "<module>"))
    )
    assert text == (
        "worker w-1 (process 123), most recent call last:\n"
        '  File "/b.py", line 4, in outer\n'
        '  File "/a.py", line 3, in inner\n'
    )


def test_lines_of_the_source_are_shown_where_they_can_be_had(tmp_path):
    source = tmp_path / "code.py"
    source.write_text("one = 1\ntwo = 2\n")
    assert "    two = 2\n" in describe(WORKER, dump((str(source), 2, "f"), (MAIN, 150, "main")))
    source.write_text("one = 1\nthree = 3\n")
    os.utime(source, (1, 1))
    assert "    three = 3\n" in describe(WORKER, dump((str(source), 2, "f"), (MAIN, 150, "main")))


def test_threads_of_ours_are_left_out_and_others_are_not():
    ours = dump((MAIN.replace("worker/main", "client/background"), 9, "_serve"), thread=2)
    native = "thread 3\n"
    others = dump(("/c.py", 5, "work"), thread=4)
    text = describe(WORKER, dump(("/a.py", 3, "f"), (MAIN, 150, "main")) + ours + native + others)
    assert "_serve" not in text
    assert "thread 3" not in text
    assert text.endswith('thread 4:\n  File "/c.py", line 5, in work\n')


def test_names_that_are_not_ascii_are_as_they_were_and_nothing_reaches_a_terminal():
    text = describe(
        WORKER, dump(("/\\xe9t\\xe9.py", 3, "gr\\u00f6\\U0001f600"), ("/\\x1b[31m.py", 1, "f"), (MAIN, 1, "main"))
    )
    assert "/été.py" in text
    assert "grö😀" in text
    assert "\x1b" not in text


def test_what_is_unknown_is_no_error():
    text = describe(WORKER, "thread 1\nnonsense\n  File ???, line ??? in ???\n  ...\nthread", silent=2)
    assert "line ?, in ???" in text
    assert "calls further out are left out" in text
    assert "2 other threads did not answer" in text
    assert "no line of Python" in describe(WORKER, "")


def test_a_deep_stack_keeps_what_was_called_last():
    frames = [(f"/{'x' * 400}.py", number, f"f{number}") for number in range(200)]
    from scaler.cluster.stacks import _cut

    text = _cut(describe(WORKER, dump(*frames, (MAIN, 1, "main"))))
    assert len(text.encode()) <= MOST_STACK_BYTES + 100
    assert text.endswith("line 0, in f0\n") or text.endswith("line ?, in f0\n")
    assert text.startswith("(what comes first is left out)\n  File")


def test_a_process_that_does_not_answer_is_not_waited_for_long_and_leaves_nothing_open():
    before = len(os.listdir("/proc/self/fd"))
    reader = StackReader()
    assert len(reader.open()) == 1
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    pidfd = os.pidfd_open(child)
    try:
        text, problem = reader.read(Asked(pidfd, child, "1234", "w"))
        assert (text, "SIGWINCH" in problem) == ("", True)
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert reader.read(Asked(pidfd, child, "1234", "w")) == ("", "its worker has just ended")
    os.close(pidfd)
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before


@contextmanager
def child(reader: StackReader, way: str) -> Iterator[Asked]:
    """A process that answers this reader."""
    (descriptor,) = reader.open()
    command = [sys.executable, busy_child.__file__, str(descriptor), "abcd", way]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        command, pass_fds=[descriptor], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pidfd = os.pidfd_open(process.pid)
        try:
            yield Asked(pidfd, process.pid, "abcd", "w")
        finally:
            os.close(pidfd)
            process.kill()
            reader.close()


def test_a_process_whose_threads_come_and_go_and_compute_is_looked_at_hundreds_of_times():
    """With faulthandler's dump of all threads by one of them it would have died of that."""
    reader = StackReader()
    with child(reader, "busy") as asked:
        texts = [reader.read(asked) for _ in range(300)]
    assert all(not problem for _, problem in texts)
    assert sum("in compute" in text for text, _ in texts) > 250  # it says that it is ready before it computes
    assert sum("in raise_and_catch" in text for text, _ in texts) > 150


def test_only_the_process_that_is_asked_answers():
    reader = StackReader()
    with child(reader, "busy") as asked:
        assert reader.read(asked)[0]
        text, problem = reader.read(asked._replace(key="abce"))
        assert (text, bool(problem)) == ("", True)
        assert reader.read(asked)[0]


def test_one_that_blocks_the_signal_is_told_from_one_that_is_busy():
    reader = StackReader()
    with child(reader, "blocks") as asked:
        while "blocked SIGWINCH" not in (problem := reader.read(asked)[1]):
            assert not problem or "SIGWINCH" in problem
