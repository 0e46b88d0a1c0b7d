"""How the extension is built; all else about the package stands in pyproject.toml.

This is code for two reasons. The parts of the extension are found instead of listed, since a part that a list forgot
was missing from source distributions. And how hard the compiler works is a choice: SCALER_OPTIMIZE=g compiles in a
quarter of the time, for whoever edits native code and runs its tests. It is -O2 unless asked: -O3 takes a fifth longer
to compile and makes the module a fifth larger, and no row of `python -m perf.core` faster.

Debugging symbols are left out (many Pythons bring `-g` in their own flags, which costs a third of the time and makes
the module six times as large), and so are the names of functions, a tenth of what remains, unless SCALER_SYMBOLS=1 asks
for them. SCALER_EXTENSION=ready says that the extension was
built in place before, since an editable install would build it from nothing once more.

The page of scaler_ui is bundled from web/ by `make page`, and is part of what is built here. Without it a build ends,
so that nobody ships a package whose page is missing; SCALER_NO_PAGE=1 asks for just that.

SCALER_SANITIZE=1 builds what `make sanitize` runs: with AddressSanitizer and UBSan, each of whose findings ends the
program; with the core's checks of itself (SCALER_CHECKED); and with limits that a few tasks reach (SCALER_TINY,
native/shm/limits.h). tests/sanitize builds it beside the one that is installed, which stays as it is.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
IS_SANITIZED = os.environ.get("SCALER_SANITIZE") == "1"
SANITIZERS = ["-fsanitize=address,undefined"]
# Of two kinds of warnings there are hundreds, and nobody can do anything about them. The structures of shared memory
# are packed, and native/shm/layout.pxi aligns each field by hand; and Cython compares loop variables with literals.
NO_WARNINGS = ["-Wno-address-of-packed-member", "-Wno-sign-compare"]


def parts() -> list[str]:
    """All files that the extension is made of, but for the one that includes the others."""
    found = (path for path in (HERE / "native").rglob("*") if path.suffix in (".pyx", ".pxd", ".pxi", ".h"))
    return sorted(str(path.relative_to(HERE)) for path in found if path.name != "_native.pyx")


def compiler_flags() -> list[str]:
    """They stand behind those of the interpreter and of CFLAGS, so the last word is here."""
    if IS_SANITIZED:
        return ["-O1", "-g1", "-fno-strict-aliasing", "-fno-omit-frame-pointer", "-DSCALER_CHECKED", "-DSCALER_TINY",
                *SANITIZERS, "-fno-sanitize-recover=all"]  # fmt: skip
    level = os.environ.get("SCALER_OPTIMIZE", "2")
    symbols = "-g" if os.environ.get("SCALER_SYMBOLS") == "1" else "-g0"
    return [f"-O{level}", symbols, "-fno-strict-aliasing"]


def linker_flags() -> list[str]:
    if IS_SANITIZED:
        return SANITIZERS
    return [] if os.environ.get("SCALER_SYMBOLS") == "1" else ["-Wl,--strip-all"]


def check_page() -> None:
    """End here if the page has not been bundled."""
    if not (HERE / "scaler/monitor/page/static/page.js").exists() and os.environ.get("SCALER_NO_PAGE") != "1":
        sys.exit(
            "the page of scaler_ui has not been built: run `make page` first (it needs node, or fetches one), or set "
            "SCALER_NO_PAGE=1 to build scaler without it"
        )


class BuildWithPage(build_py):
    """Of a wheel. An editable install uses what is there, and may come before the page."""

    def run(self) -> None:
        if not self.editable_mode:
            check_page()
        super().run()


class SourceWithPage(sdist):
    """Of a source distribution, which has the page ready, so that it takes no node to install it."""

    def run(self) -> None:
        check_page()
        super().run()


extension = Extension(
    "scaler._native",
    sources=["native/_native.pyx"],
    depends=parts(),
    extra_compile_args=[*compiler_flags(), *NO_WARNINGS],
    extra_link_args=linker_flags(),
)
setup(
    ext_modules=[] if os.environ.get("SCALER_EXTENSION") == "ready" else [extension],
    cmdclass={"build_py": BuildWithPage, "sdist": SourceWithPage},
)
