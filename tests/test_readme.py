"""README.md: its Python runs, and what it and the pages point to is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_there_is_python_in_it():
    assert len(BLOCKS) == 1


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_its_python_runs_as_it_stands(number):
    run = subprocess.run([sys.executable, "-c", BLOCKS[number]], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    for printed, comment in zip(run.stdout.splitlines(), re.findall(r"print\(.*# (.*)", BLOCKS[number]), strict=True):
        assert printed == comment


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_make_targets_it_names_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"\bmake ([a-z-]+)`", page.read_text())) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_it_names_are_there(page):
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert f"def {name}(" in (ROOT / file).read_text(), f"{page.name} names {file}::{name}, which is not there"
