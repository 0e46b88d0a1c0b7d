"""Which module is a program's `__main__` in a worker, and for how long. In a process of its own, which becomes one."""

import subprocess
import sys

PROGRAM = """
import gc, sys
from scaler._native import from_main
from scaler.values import mains

mains.serve()
mains.arrive(b"first", {"x": 1})
kept = from_main(len, 0)  # a function that came with x
for number in range(3 * mains.MOST_MODULES):
    mains.arrive(str(number).encode(), {"x": number})
    from_main(len, 0)
gc.collect()
mains.arrive(b"first", {"y": 2})
assert sys.modules["__main__"] is kept.module
assert mains.program() == b"first"
assert len(mains._modules) <= mains.MOST_MODULES + 1
"""


def test_a_program_keeps_its_module_as_long_as_one_of_its_functions_is_there():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
