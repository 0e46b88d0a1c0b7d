"""What pyright makes of tests/client/typed_calls.py, strictly: mypy, which `make check` asks, is not all there is."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = ROOT / "tests" / "client" / "typed_calls.py"


def check(path, tmp_path):
    """How many errors it finds in this file."""
    config = {
        "include": [str(path)],
        "typeCheckingMode": "strict",
        "extraPaths": [str(ROOT)],
        "pythonVersion": f"3.{sys.version_info.minor}",
        "reportUnknownMemberType": "none",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "-p",
        str(tmp_path),
        "--outputjson",
        "--pythonpath",
        sys.executable,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=250)
    return [error["message"] for error in json.loads(ran.stdout)["generalDiagnostics"]]


@pytest.mark.skipif(
    importlib.util.find_spec("basedpyright") is None, reason="NOT PLAYED: basedpyright, which is not installed"
)
def test_pyright_finds_the_same_types_as_mypy(tmp_path):
    assert check(CALLS, tmp_path) == []
    wrong = tmp_path / "wrong.py"
    wrong.write_text(CALLS.read_text().replace("ScalerFuture[int]", "ScalerFuture[str]"))
    assert len(check(wrong, tmp_path)) >= 5
