"""Where scaler cannot run, importing it says so in one sentence."""

import subprocess
import sys

import pytest

from scaler.program.interpreter import find_obstacle


def test_this_python_is_good_enough():
    assert find_obstacle(sys.platform, sys.abiflags, True) is None


@pytest.mark.parametrize(
    ("platform", "abi_flags", "has_gil", "word"),
    [
        ("darwin", "", True, "darwin"),
        ("win32", "", True, "win32"),
        ("linux", "t", True, "free-threaded"),
        ("linux", "td", False, "free-threaded"),
        ("linux", "", False, "free-threaded"),
    ],
)
def test_others_are_refused(platform, abi_flags, has_gil, word):
    sentence = find_obstacle(platform, abi_flags, has_gil)
    assert sentence is not None
    assert word in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("pretence", "words"),
    [
        ("sys.platform = 'darwin'", "scaler runs on Linux only, and this is darwin"),
        ("sys.abiflags = 't'", "scaler needs the GIL"),
        ("sys._is_gil_enabled = lambda: False", "scaler needs the GIL"),
    ],
)
@pytest.mark.parametrize("module", ["scaler", "scaler.worker.main"])
def test_import_is_refused_before_the_extension_is_loaded(pretence, words, module):
    program = f"""
import sys
{pretence}
try:
    import {module}
except ImportError as error:
    print(error)
print("scaler._native" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    sentence, loaded = answer.stdout.splitlines()
    assert sentence.startswith(words)
    assert loaded == "False"
