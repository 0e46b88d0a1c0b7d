"""A source distribution holds all it takes: it is built and installed where nothing else of this tree is, and used.

The environment is a new one, and the demo is that of the distribution, so a file that was forgotten is missing there.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "scaler/monitor/page/static"
_SMALL = {
    "one.py": "import os\n\ndef first(x):\n    return [y for y in x if y]\n",
    "folder/two.py": "class Second:\n    def third(self):\n        raise ValueError\n",
}


def run(*command: object, cwd: Path, timeout_s: int = 300, **environment: str) -> str:
    """What it says; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "SCALER_OPTIMIZE": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution's content, made from a copy of what is committed or about to be."""
    folder = tmp_path_factory.mktemp("source")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            copy = folder / "tree" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    shutil.copytree(ROOT / PAGE, folder / "tree" / PAGE)  # built by `make setup`, and committed by nobody
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, cwd=folder / "tree")
    (archive,) = folder.glob("scaler-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    (root,) = (folder / "unpacked").iterdir()
    return root


def test_it_has_every_file_of_the_extension_and_of_the_protocol(unpacked):
    def names(root: Path) -> set[str]:
        return {
            str(path.relative_to(root))
            for folder in ("native", "protocol")
            for path in (root / folder).rglob("*")
            if path.is_file() and path.suffix in (".pyx", ".pxd", ".pxi", ".h", ".capnp", ".md")
        }

    assert names(unpacked) == names(ROOT)
    for name in ("docs/conf.py", "deploy/Containerfile", ".github/workflows/ci.yaml", "examples/notebook/tour.ipynb"):
        assert (unpacked / name).exists(), name
    assert "native/_native.pyx" in names(unpacked)


@pytest.mark.timeout(900)
def test_it_is_installed_in_a_clean_environment_and_runs_readmes_program_and_the_demo(unpacked, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--no-compile", f"{unpacked}[top,ui]", cwd=tmp_path, timeout_s=600)
    where = run(python, "-c", "import scaler._native; print(scaler._native.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path))
    assert (Path(where).parent / PAGE.removeprefix("scaler/") / "page.js").exists()
    said = run(python, unpacked / "tests/packaging/first_program.py", "--any-size", cwd=tmp_path, timeout_s=120)
    assert "works" in said
    for name, text in _SMALL.items():
        path = tmp_path / "counted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.rename(unpacked / "examples", tmp_path / "examples")  # away from the package's source, which would be imported
    said = run(python, "-m", "examples.census", tmp_path / "counted", cwd=tmp_path, timeout_s=120)
    assert "Scaler" in said
