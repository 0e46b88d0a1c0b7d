"""A package without the page of scaler_ui is not built by mistake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree as it is committed: without the bundle."""
    folder = tmp_path_factory.mktemp("tree")
    without = shutil.ignore_patterns("static", "__pycache__", "*.so", "node_modules")
    for name in ("scaler", "protocol"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(tree: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "SCALER_NO_PAGE"}
    return subprocess.run(
        [sys.executable, "setup.py", "-q", *words],
        cwd=tree,
        env={**inherited, "SCALER_EXTENSION": "ready", **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize("command", ["build_py", "sdist"])
def test_a_build_without_the_page_ends_and_says_what_to_do(tree, command):
    done = build(tree, command)
    assert done.returncode == 1
    assert "run `make page` first" in done.stderr
    assert "SCALER_NO_PAGE=1" in done.stderr


def test_it_is_built_without_the_page_if_that_is_asked_for(tree, tmp_path):
    done = build(tree, "build_py", "--build-lib", str(tmp_path), SCALER_NO_PAGE="1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scaler/monitor/page/server.py").exists()
    assert not (tmp_path / "scaler/monitor/page/static").exists()
