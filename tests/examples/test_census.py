"""The demo, on a folder of a few files: real processes, in an interpreter of its own as a reader would start it."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.census.counting import count_file, find_files, merge, package_of

SOURCE = """
import os

class Shape:
    async def area(self, scale=1):
        if scale and self.sides:
            return [side for side in self.sides]
        return (lambda: "\\d")()

def walk(shape):
    try:
        shape.area()
    except ValueError:
        pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "shapes/__init__.py": SOURCE,
        "shapes/more.py": SOURCE * 2,
        "single.py": "a = 1\n",
        "broken.py": "def f(:\n",
        "null.py": "a = '\0'\n",
        "site-packages/installed.py": SOURCE,
        "shapes/tests/test_shapes.py": SOURCE,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_file_is_counted_as_it_reads(folder):
    count = count_file(str(folder / "shapes/__init__.py"))
    assert (count.files, count.unparsed, count.lines) == (1, 0, SOURCE.count("\n"))
    assert (count.functions, count.classes, count.branches) == (3, 1, 4)
    assert (count.identifiers["shape"], count.identifiers["area"], count.identifiers["sides"]) == (2, 2, 2)


@pytest.mark.parametrize("name", ["broken.py", "null.py", "not/there.py"])
def test_a_file_that_cannot_be_parsed_is_counted_as_such(folder, name):
    count = count_file(str(folder / name))
    assert (count.files, count.unparsed, count.functions) == (1, 1, 0)


def test_tests_and_installed_packages_are_left_out_and_the_largest_file_comes_first(folder):
    names = [str(Path(path).relative_to(folder)) for path in find_files(folder)]
    assert names[:2] == ["shapes/more.py", "shapes/__init__.py"]
    assert sorted(names[2:]) == ["broken.py", "null.py", "single.py"]


def test_counts_are_merged_by_package_in_any_order(folder):
    counts = [(path, count_file(path)) for path in find_files(folder)]
    census = merge(counts, folder)
    assert census == merge(reversed(counts), folder)
    assert sorted(census) == ["broken", "null", "shapes", "single"]
    assert (census["shapes"].files, census["shapes"].classes) == (2, 3)
    assert package_of(str(folder / "single.py"), folder) == "single"


def test_the_demo_runs_and_all_engines_agree(folder):
    code = (
        "from pathlib import Path; import examples.census.__main__ as demo;"
        f"demo.TINY_TASKS = demo.TINY_CALLS = demo.WAITS = 100; demo.main(Path({str(folder)!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    lines = {line.split()[0]: line.split() for line in run.stdout.splitlines() if line}
    assert lines["shapes"][1:6] == ["2", str(3 * SOURCE.count("\n")), "9", "3", "12"]
    assert lines["all"][1] == "5"
    assert "2 of 5 files could not be parsed" in run.stdout
    assert run.stdout.count("1.00 x") >= 4
    assert "5 of 5 files" in run.stderr


def test_an_empty_folder_is_a_clear_error(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "examples.census", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr == f"there are no Python files in {tmp_path}\n"
