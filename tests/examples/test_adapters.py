"""The small examples, each in an interpreter of its own as a reader would start it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("executor", ["pi is about 3.14", "10 more: 3.14"]),
        ("pool", ["17647 takes 278 steps", "703 is the first that takes more than 150", "27 takes 111"]),
        ("coroutines", ["below 100: 25", "below 20,000: 2262"]),
        ("with_joblib", ["sum of 10,000 roots: 661650"]),
    ],
)
def test_an_example_says_what_it_should(name, lines):
    command = [sys.executable, "-m", f"examples.{name}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (0, "")
    for line in lines:
        assert line in ran.stdout.splitlines()
