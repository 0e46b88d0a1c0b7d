"""Each example in a folder says what its README shows, and the notebook what is stored in it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = re.compile(r"^```text\n\$ python -m examples\.(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = {
    name: output
    for readme in sorted((ROOT / "examples").glob("*/README.md"))
    for name, output in _SHOWN.findall(readme.read_text())
    if name == readme.parent.name
}
NOTEBOOK = ROOT / "examples/notebook/tour.ipynb"


def test_the_examples_are_found():
    assert len(SHOWN) >= 8


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_prints_what_its_readme_shows(name):
    command = [sys.executable, "-m", f"examples.{name}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    # A scheduler on a busy machine may have something to log of its own.
    shown = "".join(line for line in ran.stdout.splitlines(True) if not line.startswith("[WARNING]"))
    assert shown == SHOWN[name]


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in (ROOT / "examples").glob("*/README.md")))
def test_an_example_is_in_the_list(folder):
    assert f"({folder}/README.md)" in (ROOT / "examples/README.md").read_text()


def test_the_notebook_says_what_is_stored_in_it(monkeypatch):
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    stored = nbformat.read(NOTEBOOK, as_version=4)
    run = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(run, timeout=60, kernel_name="python3").execute()
    assert [said(cell) for cell in run.cells] == [said(cell) for cell in stored.cells]
    assert sum(bool(said(cell)) for cell in stored.cells) >= 4


def said(cell: Any) -> list[Any]:
    """What is below a cell."""
    return [output.get("data", output.get("text")) for output in cell.get("outputs", [])]
