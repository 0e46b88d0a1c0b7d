"""The programs in C++: built once, if the compiler and the libraries are there, and spoken to.

`make -C cpp` builds what is not up to date. Several processes of tests may ask for it at the same time: one builds, the
others wait.
"""

import fcntl
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cpp"
BUILD = FOLDER / "build"
_TOOLS = ("make", "g++", "capnp", "pkg-config")
_LIBRARIES = ("capnp", "libzmq", "libsodium", "nlohmann_json", "cppzmq")


@functools.cache
def what_is_missing() -> str:
    """What of compiler and libraries is not here; empty if all is."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if not missing:
        there = [subprocess.run(["pkg-config", "--exists", each], check=False).returncode == 0 for each in _LIBRARIES]
        missing = [each for each, is_there in zip(_LIBRARIES, there, strict=True) if not is_there]
    return ", ".join(missing)


@functools.cache
def build() -> None:
    """Build what is not up to date. Skips the test if that cannot be done here, and fails it if it does not compile."""
    if missing := what_is_missing():
        pytest.skip(f"C++ IS NOT TESTED: this machine has no {missing} (.ci/packages installs all of it)")
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(["make", "-s", "-C", str(FOLDER), "-j2"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-8000:]


def program(name: str) -> str:
    build()
    return str(BUILD / name)


class Refused(Exception):
    """What the program has answered in place of a value: `said` has its words."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said["text"])
        self.said = said


class Driver:
    """A client in C++: tests/cpp/driver.cpp. Refused if it could not connect."""

    def __init__(self, address: str, keys: str = "", timeout_s: float = 20) -> None:
        self._program = subprocess.Popen(
            [program("driver"), address, keys, str(timeout_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ids = 0
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, **said: Any) -> Any:
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(said) + "\n")
        self._program.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        assert line, f"the client in C++ has ended with {self._program.wait(10)}"
        said = json.loads(line)
        if "error" in said:
            raise Refused(said)
        return said.get("value", said.get("task"))

    def submit(self, name: str, args: Any, **options: Any) -> int:
        self._ids += 1
        self.ask(do="submit", id=self._ids, name=name, args=args, **options)
        return self._ids

    def get(self, call: int, timeout_s: float = 30) -> Any:
        return self.ask(do="get", id=call, timeout=timeout_s)

    def call(self, name: str, args: Any, **options: Any) -> Any:
        return self.get(self.submit(name, args, **options))

    def close(self) -> int:
        """Its exit code."""
        self._program.communicate(timeout=20)
        return self._program.returncode

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def start_worker(address: str, slots: int = 1, keys: str = "", stderr: Any = None) -> "subprocess.Popen[bytes]":
    """A worker in C++: tests/cpp/serving.cpp. To be ended by SIGTERM."""
    return subprocess.Popen([program("serving"), address, keys, str(slots)], stderr=stderr)


def run_example(words: Sequence[str]) -> str:
    """What an example prints."""
    made = subprocess.run(
        [program(words[0]), *words[1:]], capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ)
    )
    return made.stdout
