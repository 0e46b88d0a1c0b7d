"""What a program's own `__main__` defines: as function, argument, result and exception.

The program is main_program.py, a process of its own. Each of its checks answers with what it has found.
"""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("main_program.py")
EXPECTED = {
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
        "there is no x",
        [1],
        2,
        "__main__.WithLock: 5",
        5,
        ["there is no a", "there is no b"],
    ],
}


def run(cluster, *command, **options):
    done = subprocess.run(
        [*command, cluster.get_address()], capture_output=True, text=True, timeout=100, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_script(cluster):
    assert run(cluster, sys.executable, str(PROGRAM)) == EXPECTED
