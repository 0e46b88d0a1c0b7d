"""What must hold where Scaler was installed and nothing else of this repository is: a program for that Python.

    python tests/packaging/first_program.py [--any-size]

README's first program runs, the commands say what they can do, and the page, the schemas and the mark for type checkers
are there. The extension has at most 3 MB, if it was built for speed. Imports nothing of the tests, which
are not there.
"""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import scaler
import scaler._native

MOST_BYTES = 3_000_000
README = Path(__file__).resolve().parents[2] / "README.md"


def check_program() -> None:
    """README's, with what its lines print."""
    found = re.search(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    ran = subprocess.run([sys.executable, "-c", found[1]], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    assert ran.stdout.splitlines() == re.findall(r"print\(.*# (.*)", found[1]), ran.stdout


def check_commands() -> None:
    """Each of them is installed beside this Python and shows its help."""
    commands = [point.name for point in entry_points(group="console_scripts") if point.name.startswith("scaler_")]
    assert len(commands) >= 5, commands
    for name in commands:
        ran = subprocess.run([Path(sys.executable).with_name(name), "-h"], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert name in ran.stdout, ran.stdout


def check_files(is_any_size: bool) -> int:
    """The size of the extension."""
    folder = Path(scaler.__file__).parent
    assert "site-packages" in folder.parts, f"{folder} is not where packages are installed"
    for name in ("py.typed", "_native.pyi", "monitor/page/static/page.js", "protocol/schema/frame.capnp"):
        assert (folder / name).exists(), name
    size = Path(str(scaler._native.__file__)).stat().st_size
    assert is_any_size or size <= MOST_BYTES, f"the extension has {size:,} bytes, more than {MOST_BYTES:,}"
    return size


if __name__ == "__main__":
    size = check_files("--any-size" in sys.argv)
    check_commands()
    check_program()
    sys.stdout.write(f"scaler {scaler.__version__} works; its extension has {size:,} bytes\n")
