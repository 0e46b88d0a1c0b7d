"""What a program's own `__main__` defines: as function, argument, result and exception, and in what tasks do with it.

The program is main_program.py, a process of its own, started in all the ways in which people start Python. Each of its
checks answers with what it has found.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e import calls

jupyter_client = pytest.importorskip("jupyter_client")
PROGRAM = Path(__file__).with_name("main_program.py")
EXPECTED = {
    "pools_of_processes_in_tasks": [
        *[[[[10], [11], [12]], "r [] True 5 int", True]] * 3,
        *[[[20, 21, 22], True]] * 3,
        *[[True, True, 0]] * 3,
    ],
    "main_is_there_in_tasks": [[True] * 11, [True] * 3, [12, True, True, None, "__main__", False], "b", True],
    "results_are_of_our_classes": [True] * 12,
    "what_is_found_by_name_travels": [6765, 6765, [5, 8], "list of int", 7, 1],
    "classes_stay_as_they_are": True,
    "errors_name_what_cannot_travel": [
        "TypeError: function 'use_lock' uses global 'LOCK' (a _thread.lock), which cannot be pickled",
        "TypeError: function 'use_context' uses global 'CONTEXT' (a _contextvars.ContextVar), which cannot be pickled",
        "TypeError: function 'use_model' uses global 'MODEL' (a Model), which has attribute 'inner' (a list), which "
        "has item 0 (a _thread.lock), which cannot be pickled",
        "TypeError: function 'closing_over.<locals>.<lambda>' uses closure variable 'value' (a generator), which "
        "cannot be pickled",
        "TypeError: a tuple has item 0 (a dict), which has item 'a' (a list), which has item 100 (a generator), which "
        "cannot be pickled",
        "TypeError: a list has item 1 (a _thread.lock), which cannot be pickled",
        "TypeError: a functools.partial has argument 0 (a _thread.lock), which cannot be pickled",
        "TypeError: a tuple has item 0 (a memoryview): a memoryview cannot be pickled: pass bytes(view), or the object "
        "that it looks at",
        "TypeError: a tuple has item 0 (a _io.TextIOWrapper): an open file ('<stdin>') cannot be pickled: pass its "
        "path, and open it where it is read",
    ],
    "failures_are_of_our_classes": [
        "there is no x", [1], 2, "__main__.WithLock: 5", 5, ["there is no a", "there is no b"],
    ],
}  # fmt: skip
ONE_OF_TWO = """
import pickle, sys, threading
from scaler import Client
from tests.e2e import calls

LOCK = threading.Lock()

def odd(n: "LOCK") -> "int":  # what only an annotation names need not be picklable
    return n

class Thing:
    name = NAME

def look(thing):
    import __main__
    again = pickle.loads(pickle.dumps(Thing()))
    return __main__.NAME, type(again) is type(thing) is __main__.Thing, again.name, sys.modules["__main__"] is __main__

with Client(sys.argv[1], timeout_seconds=20) as client:
    assert client.submit(odd, 3).result(60) == 3
    for _ in range(150):
        found = [client.submit(look, Thing()).result(60), client.submit(calls.names_in_main).result(60)]
        assert found == [(NAME, True, NAME, True), []], found
print('"fine"')
"""

NAMES_STAY = """
import pickle, sys
from scaler import Client, current_client

class X:
    pass

class Y:
    pass

SEEN = []

async def of_a_coroutine():
    return pickle.loads(pickle.dumps(X())).__class__ is X

def fresh_child():
    SEEN.append(X)  # it carries state
    return pickle.loads(pickle.dumps(X())).__class__ is X

def kept_child():
    return pickle.loads(pickle.dumps(X())).__class__ is X

def parent(x: X, child):
    before = pickle.dumps(x)
    inner = current_client().submit(child).result(60)
    return inner, type(pickle.loads(before)) is type(x), type(pickle.loads(pickle.dumps(x))) is type(x)

def grand_parent(x, child):
    found = current_client().submit(parent, x, child).result(60)
    return *found, type(pickle.loads(pickle.dumps(x))) is type(x), current_client().map(other_child, [(x,)] * 3)

def other_child(x):
    return pickle.loads(pickle.dumps(x)).__class__ is type(x), pickle.loads(pickle.dumps(Y())).__class__ is Y

with Client(sys.argv[1], timeout_seconds=20) as client:
    assert client.submit(of_a_coroutine).result(60)
    for child in (fresh_child, kept_child, of_a_coroutine):
        for _ in range(8):
            found = client.submit(parent, X(), child).result(60)
            assert found == (True,) * 3, (child, found)
            found = client.submit(grand_parent, X(), child).result(60)
            assert found == (True, True, True, True, [(True, True)] * 3), (child, found)
print('"fine"')
"""

WITH_ANNOTATIONS = """
import sys, typing
from typing import Literal, Optional
import collections.abc as abc
from scaler import Client

train = test = [0] * 1000  # no types

class X:
    pass

Y = typing.NewType("Y", int)
Z = list[X]

def look(a: "Literal['train', 'test']", b: "list['X']", c: "abc.Sized", d: "Optional[Y]", e: "Z | train") -> "X":
    del look.__annotations__["e"]
    assert not {"train", "test"} & set(globals())
    return typing.get_type_hints(look) == {
        "a": Literal["train", "test"], "b": list[X], "c": abc.Sized, "d": Optional[Y], "return": X,
    }

with Client(sys.argv[1], timeout_seconds=20) as client:
    assert client.submit(look, 1, 2, 3, 4, 5).result(60)
print('"fine"')
"""


SPAWNED = """
import multiprocessing, sys
from scaler import Client

class Thing:
    def __init__(self, n):
        self.n = n

def double(thing):
    return Thing(2 * thing.n)

def submit(address):
    with Client(address, timeout_seconds=20) as client:
        made = client.submit(double, Thing(4)).result(60)
        assert type(made) is Thing and made.n == 8 and Thing.__module__ == "__mp_main__"

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=submit, args=(sys.argv[1],))
    child.start()
    child.join()
    print(child.exitcode)
"""


def run(cluster, *command, **options):
    done = subprocess.run(
        [*command, cluster.get_address()], capture_output=True, text=True, timeout=110, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_script(cluster):
    assert run(cluster, sys.executable, str(PROGRAM)) == EXPECTED


def test_a_module_of_a_package(cluster, tmp_path):
    (tmp_path / "package").mkdir()
    shutil.copy(PROGRAM, tmp_path / "package" / "program.py")
    assert run(cluster, sys.executable, "-m", "package.program", cwd=tmp_path) == EXPECTED


def test_a_zip_and_a_directory(cluster, tmp_path):
    (tmp_path / "directory").mkdir()
    shutil.copy(PROGRAM, tmp_path / "directory" / "__main__.py")
    assert run(cluster, sys.executable, str(tmp_path / "directory")) == EXPECTED
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as file:
        file.write(PROGRAM, "__main__.py")
    assert run(cluster, sys.executable, str(tmp_path / "program.zip")) == EXPECTED


def test_standard_input_and_the_command_line(cluster):
    text = PROGRAM.read_text()
    assert run(cluster, sys.executable, "-", input=text) == EXPECTED
    assert run(cluster, sys.executable, "-c", text) == EXPECTED


def test_a_notebook(cluster, tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    manager, kernel = jupyter_client.manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    output = []

    def on_output(message):
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            output.append(message["content"]["text"])
        if message["msg_type"] == "error":
            output.append("\n".join(message["content"]["traceback"]))

    try:
        address = cluster.get_address()
        for cell in (f"import sys; sys.argv = ['', {address!r}]", PROGRAM.read_text()):
            kernel.execute_interactive(cell, timeout=110, output_hook=on_output)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert json.loads("".join(output)) == EXPECTED


def test_a_client_in_a_process_that_multiprocessing_has_spawned(cluster, tmp_path):
    (tmp_path / "program.py").write_text(SPAWNED)
    assert run(cluster, sys.executable, str(tmp_path / "program.py")) == 0


def test_of_two_programs_each_has_its_own(cluster):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", f"NAME = {name!r}\n{ONE_OF_TWO}", cluster.get_address()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for program in programs:
        output, errors = program.communicate(timeout=110)
        assert (output.strip(), errors) == ('"fine"', "")


def test_names_stay_until_a_coroutine_ends_and_come_back_after_what_ran_in_place(cluster):
    assert run(cluster, sys.executable, "-c", NAMES_STAY) == "fine"


def test_of_the_names_in_annotations_only_types_travel(cluster):
    assert run(cluster, sys.executable, "-c", WITH_ANNOTATIONS) == "fine"


def test_a_task_that_brought_nothing_finds_nothing(client):
    assert client.submit(calls.names_in_main).result(20) == []
