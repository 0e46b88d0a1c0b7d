"""What the package imports as it is loaded is installed with it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OF_DISTRIBUTION = {"zmq": "pyzmq", "capnp": "pycapnp"}  # where the two names differ
# Whose imports need an extra, and say so where that is not installed.
OF_EXTRAS = ("scaler/monitor/page/", "scaler/monitor/top/", "scaler/joblib.py", "scaler/scheduler/pump_loop.py")


def third_party(nodes: Iterable[ast.AST]) -> set[str]:
    """What these import that is neither the standard library's nor ours, as distributions are called."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return {OF_DISTRIBUTION.get(name, name) for name in found - sys.stdlib_module_names - {"scaler"}}


def test_what_the_package_imports_is_what_it_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {re.split(r"[<>=\[]", text)[0] for text in project["dependencies"]}
    anywhere: set[str] = set()
    for path in sorted((ROOT / "scaler").rglob("*.py")):
        tree = ast.parse(path.read_text())
        anywhere |= third_party(ast.walk(tree))
        if not str(path.relative_to(ROOT)).startswith(OF_EXTRAS):
            assert third_party(tree.body) <= installed, path
    assert installed <= anywhere
