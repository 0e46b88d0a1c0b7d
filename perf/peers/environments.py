"""A virtual environment for each peer, under .venvs/peers: they need other versions than we do, one even our name.

The repository is on the path of each, *after* what is installed there, by a `.pth` file: so that workers of any engine
find perf.work, and `import scaler` is the peer's.

Rule 1: what has been made from the same requirements, Python and repository is not made again.
Rule 2: one that cannot be made is no reason to stop: who asks for it is told why, each time.
Not here: starting anything in them (players).
"""

import functools
import importlib.metadata
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venvs" / "peers"
NUMPY = "numpy>=2,<3"
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "dask": ("dask[distributed]>=2026.1,<2027", NUMPY),
    "ray": ("ray>=2.40,<3", NUMPY),
    # It pins pycapnp and psutil itself; the others are those that it was tried with.
    "scaler1": ("scaler==1.9.9", "pyzmq>=26,<28", "cloudpickle>=3,<4", "bidict<1", "tblib<4", NUMPY),
}
SHOWN = ("dask", "distributed", "ray", "scaler", "pyzmq", "pycapnp", "cloudpickle", "numpy")
INSTALL_TIMEOUT_S = 600


class NotInstalledError(Exception):
    """Why there is no such environment."""


def find_python(name: str) -> Path:
    """Its interpreter; makes the environment if need be."""
    reason = _make(name)
    if reason:
        raise NotInstalledError(reason)
    return _interpreter(HOME / name)


def describe(name: str) -> dict[str, str]:
    """The versions of what counts in it, or why it is not there."""
    try:
        python = find_python(name)
    except NotInstalledError as error:
        return {"not installed": str(error)}
    path = [str(folder) for folder in python.parents[1].glob("lib/python*/site-packages")]
    versions = {found.name.lower(): found.version for found in importlib.metadata.distributions(path=path)}
    return {package: versions[package] for package in SHOWN if package in versions}


@functools.cache  # tried once in a run, not once per row
def _make(name: str) -> str:
    """Why it could not be made; empty if it is there."""
    folder, requirements = HOME / name, REQUIREMENTS[name]
    stamp = folder / ".made-from"
    made_from = "\n".join([sys.version, str(ROOT), *requirements])
    if stamp.exists() and stamp.read_text() == made_from:
        return ""
    print(f"installing {requirements[0]} into .venvs/peers/{name}", file=sys.stderr, flush=True)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _install(folder, requirements)
        for packages in folder.glob("lib/python*/site-packages"):
            (packages / "scaler-perf.pth").write_text(f"{ROOT}\n")
        stamp.write_text(made_from)
    except (OSError, subprocess.SubprocessError) as error:
        return f"cannot be installed: {_reason(error)}"
    return ""


def _install(folder: Path, requirements: tuple[str, ...]) -> None:
    command = [str(_interpreter(folder)), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


def _reason(error: Exception) -> str:
    """What pip said last, if it was pip."""
    said = getattr(error, "stderr", None) or ""
    errors = [line for line in str(said).splitlines() if line.startswith("ERROR: ")]
    return errors[-1].removeprefix("ERROR: ") if errors else f"{type(error).__name__}: {error}"
