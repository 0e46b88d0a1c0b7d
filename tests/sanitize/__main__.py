"""`python -m tests.sanitize`: tests and fuzzers with an extension that finds its own faults.

The extension is built with AddressSanitizer and UBSan, with the core's checks of itself, and with limits so small that
a few tasks reach them (setup.py, native/shm/limits.h). It stands under build/sanitize; the one that is installed is
not touched. The first finding ends the program with status 99 and says where it was.

    python -m tests.sanitize                                  what every commit has time for
    python -m tests.sanitize --build                          only the extension
    python -m tests.sanitize --all                            everything, and the fuzzers on fresh seeds
    python -m tests.sanitize pytest tests/native -k edges     one module, with its arguments
    python -m tests.sanitize tests.fuzz core --seed 7

Rule 1: what is left out, or a finding that is passed over, stands here with its reason.
Not here: what is built how (setup.py), what the fuzzers do (tests.fuzz).
"""

import argparse
import bisect
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.run import EVENTS, FUZZERS

log = logging.getLogger("sanitize")
ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "sanitize"
REPORTS = BUILD / "reports"
SITE = Path(__file__).parent / "site"
FOUND = 99  # the status with which a finding ends a program

ADDRESS = {
    "detect_leaks": 0,  # the interpreter itself leaves memory behind; what the core keeps is asserted by its tests
    "allocator_may_return_null": 1,  # as malloc: tests ask for more than there is
    "malloc_context_size": 12,
    "quarantine_size_mb": 64,
}
UNDEFINED = {"print_stacktrace": 1}
COMMON = {"exitcode": FOUND, "log_path": REPORTS / "report"}  # not into the output of a test, which nobody sees

LEFT_OUT = [
    "--ignore=tests/native/test_ring_kill.py",  # kills processes for seconds on end; the code is that of test_ring
    "--deselect=tests/native/test_churn.py",  # measures the heap, which keeps what was freed here, to see it touched
    # This heap has nothing to trim, of which the C library is asked.
    "--deselect=tests/native/test_upkeep.py::test_what_lies_free_goes_back_once_a_worker_has_been_idle_for_an_interval",
]
TESTS = [
    "tests/fuzz", "tests/native", "tests/colocation", "tests/objects", "tests/session", "tests/protocol", "tests/sim"
]  # fmt: skip
LONG = [  # what every commit has no time for
    "--ignore=tests/protocol",  # frames in Python and Cap'n Proto; what is native of it is in tests/native, too
    "--ignore=tests/sim/test_objects.py",
    "--ignore=tests/sim/test_wire.py",
]


def build() -> Path:
    """The extension, made anew if anything that it is made of has changed."""
    environment = {**os.environ, "SCALER_SANITIZE": "1", "PYTHONWARNINGS": "ignore"}
    made = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(BUILD), "--build-temp", str(BUILD / "temp")],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if made.returncode:
        sys.exit(f"{made.stdout}the extension could not be built")
    (extension,) = (BUILD / "scaler").glob(f"_native.{sys.implementation.cache_tag}-*.so")
    return extension


def library(name: str) -> str:
    """Where the compiler has this library."""
    answer = subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return os.path.realpath(answer.stdout.strip())


def environment(extension: Path) -> dict[str, str]:
    """In which Python and all that it starts run with the extension."""
    return {
        **os.environ,
        "SCALER_SANITIZED": str(extension),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH")])),
        "PYTHONMALLOC": "malloc",  # else Python's objects lie in its own arenas, where no fault is seen
        # The first library must be the sanitizer's. It looks for C++'s exceptions when it starts, and misses them if
        # that library is loaded only later, by Cap'n Proto.
        "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so.6')}",
        "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in {**ADDRESS, **COMMON}.items()),
        "UBSAN_OPTIONS": ":".join(f"{name}={value}" for name, value in {**UNDEFINED, **COMMON}.items()),
    }


def run(arguments: list[str], extension: Path) -> int:
    """One module with its arguments, as `python -m` takes them. Its status."""
    start = time.monotonic()
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    status = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environment(extension)).returncode
    reports = sorted(REPORTS.iterdir())
    for report in reports:
        log.error("%s", readable(report.read_text(errors="replace")))
    log.info("%.0f s, status %d: %s", time.monotonic() - start, status, " ".join(arguments))
    return FOUND if reports else status  # a process that a test started and did not ask for its status counts, too


def readable(report: str) -> str:
    """A report without the interpreter's frames, and with our lines instead of those of the C file made of them."""
    source: list[tuple[int, str]] = []
    with open(ROOT / "native" / "_native.c") as c_file:
        for number, line in enumerate(c_file, 1):
            if found := re.match(r'\s*/\* "(native/[^"]+)":(\d+)', line):
                source.append((number, f"{found[1]}:{found[2]}"))

    def our_line(found: re.Match[str]) -> str:
        at = bisect.bisect(source, (int(found[1]), "")) - 1
        return source[at][1] if at >= 0 else found[0]

    kept = []
    for line in report.splitlines():
        if line.startswith("Shadow byte legend"):
            break
        if not re.match(r"\s+#\d+ ", line) or "native/_native.c" in line or "libsanitizer" in line:
            kept.append(re.sub(r"native/_native\.c:(\d+)", our_line, line))
    return "\n".join(kept)


def jobs(everything: bool) -> list[list[str]]:
    """What there is to run."""
    tests = ["pytest", "-n2", "--dist=worksteal", "--timeout=900", *LEFT_OUT, *TESTS]
    if not everything:
        return [[*tests, *LONG]]
    return [tests, *(["tests.fuzz", name, "--events", str(10 * EVENTS[name][0])] for name in FUZZERS)]


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.sanitize", description=__doc__.splitlines()[0])
    parser.add_argument("--build", action="store_true", help="build the extension and no more")
    parser.add_argument("--all", action="store_true", help="everything, and the fuzzers on fresh seeds")
    parser.add_argument("module", nargs=argparse.REMAINDER, help="a module to run instead, and its arguments")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    start = time.monotonic()
    extension = build()
    log.info("built in %.0f s", time.monotonic() - start)
    if arguments.build:
        return 0
    for job in [arguments.module] if arguments.module else jobs(arguments.all):
        if (status := run(job, extension)) != 0:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
