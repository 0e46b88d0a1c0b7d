"""Whether what "Not here" says is there: a file that says where something else lives must not send anybody astray.

A docstring ends with a paragraph "Not here: this (there), that (there, there)." What stands in the brackets is a name:
of a module beside the file, of one of the package (`values.payload`, `scaler._native`), of a file
(`native/records/bounds.pyx`), or of something that such a file defines (`Client.pool`, `RecordBatch`). Words with a
space in them are no names, and `python -m tests.checks.pointers` has nothing to say about them.
"""

import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("scaler", "native", "tests", "perf")
SUFFIXES = (".py", ".pyx", ".pxd", ".pyi")  # of files that may say it
FILES = (*SUFFIXES, ".pxi", ".h", ".md")  # that may be named with their suffix
_PARAGRAPH = re.compile(r'^#?\s*(?:""")?Not here: (.+?)(?=\n\s*\n|"""|\Z)', re.MULTILINE | re.DOTALL)
_BRACKETS = re.compile(r"\(([^()]*)\)")
_NAME = re.compile(r"[A-Za-z_][\w./]*")
_DEFINES = (
    r"(?m)^\s*(?:cdef |cpdef |async )*(?:inline |final |enum |struct |public )*"
    r"(?:class |def |[\w\[\], *]+ )?{name}\b\s*[:=(]"
)


def pointers(text: str) -> Iterator[str]:
    """The names that the text's "Not here" paragraphs give."""
    for paragraph in _PARAGRAPH.finditer(text):
        for brackets in _BRACKETS.finditer(paragraph[1]):
            for part in re.split(r",\s|\sand\s", brackets[1].replace("`", "")):
                name = re.sub(r"\n#?", "", part).strip()
                if _NAME.fullmatch(name):
                    yield name.rstrip(".")


def is_there(name: str, file: Path) -> bool:
    """Whether something of that name is there, as seen from the file."""
    parts = name.split(".") if not name.endswith(FILES) else [name]
    for start in (file.parent, ROOT, *_folders()):
        for length in range(len(parts), 0, -1):
            found = _module(start.joinpath(*parts[:length]))
            if found is not None and _defines(found, parts[length:]):
                return True
    return any(_defines(path, parts) for path in _sources())


def _module(path: Path) -> Path | None:
    if path.is_file():
        return path
    for suffix in SUFFIXES:
        if (beside := path.with_name(path.name + suffix)).is_file():
            return beside
    return path if path.is_dir() else None


@functools.cache
def _folders() -> list[Path]:
    return [ROOT / top for top in FOLDERS] + [
        path for top in FOLDERS for path in sorted((ROOT / top).rglob("*")) if path.is_dir()
    ]


@functools.cache
def _sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]


def _defines(path: Path, names: list[str]) -> bool:
    if not names:
        return True
    if path.is_dir():
        path = path / "__init__.py"
    text = path.read_text() if path.is_file() else ""
    return all(re.search(_DEFINES.format(name=re.escape(name)), text) for name in names)


def astray() -> list[str]:
    """A sentence for each name that leads nowhere."""
    wrong = []
    for path in _sources():
        for name in pointers(path.read_text()):
            if not is_there(name, path):
                wrong.append(f'{path.relative_to(ROOT)}: "Not here" names {name}, and there is no such thing')
    return wrong


if __name__ == "__main__":
    for sentence in (found := astray()):
        print(sentence)
    sys.exit(bool(found))
