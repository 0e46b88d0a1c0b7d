"""`python -m scaler`, and what importing a client costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEAR = {"asyncio", "capnp", "multiprocessing", "subprocess", "zmq"}


def test_the_package_lists_its_commands():
    said = subprocess.run([sys.executable, "-m", "scaler"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    lines = said.splitlines()[1:]
    assert sorted(line.split()[0] for line in lines) == sorted(scripts)
    assert all(len(line.split()) > 4 for line in lines)


def test_importing_a_client_loads_nothing_that_only_connecting_needs():
    program = "import sys; from scaler import Client, ScalerFuture, as_completed; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert DEAR.isdisjoint(said.split())


def test_the_version_is_known_in_a_source_tree_that_is_not_installed():
    program = """
import importlib.metadata, scaler
installed = scaler.__version__
def not_found(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = not_found
print(installed, scaler.__version__)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    installed, from_tree = said.split()
    assert installed == from_tree
