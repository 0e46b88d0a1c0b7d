"""What one task does: read a file, parse it, count what is in it. And how the counts of many files become one census.

Nothing here knows of Scaler: a task is an ordinary function of a module that can be imported.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
BRANCHES = (
    ast.If, ast.IfExp, ast.BoolOp, ast.For, ast.AsyncFor, ast.While, ast.comprehension, ast.match_case,
    ast.ExceptHandler,
)  # fmt: skip
NAME_OF = {
    ast.Name: "id",
    ast.Attribute: "attr",
    ast.arg: "arg",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
}


@dataclass
class Count:
    """What is in one file, or in several together. `identifiers` says how often each name is used."""

    files: int = 0
    unparsed: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    branches: int = 0
    identifiers: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Count") -> None:
        self.files += other.files
        self.unparsed += other.unparsed
        self.lines += other.lines
        self.functions += other.functions
        self.classes += other.classes
        self.branches += other.branches
        self.identifiers.update(other.identifiers)


Census = dict[str, Count]  # by top-level package


def count_file(path: str) -> Count:
    """The task. A file that cannot be read or parsed is counted as such: among many files there is always one."""
    count = Count(files=1)
    try:
        source = Path(path).read_bytes()
        count.lines = source.count(b"\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files have escape sequences that are frowned upon today
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        count.unparsed = 1
        return count
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            count.functions += 1
        elif isinstance(node, ast.ClassDef):
            count.classes += 1
        elif isinstance(node, BRANCHES):
            count.branches += 1
        name = NAME_OF.get(type(node))
        if name is not None:
            count.identifiers[getattr(node, name)] += 1
    return count


def find_files(folder: Path) -> list[str]:
    """The Python files of a folder, without installed packages and tests.

    The largest first: whoever deals out work should not begin the longest piece last.
    """
    skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    files = [path for path in folder.rglob("*.py") if not skipped.intersection(path.relative_to(folder).parts)]
    return [str(path) for path in sorted(files, key=lambda path: (-path.stat().st_size, path))]


def package_of(path: str, folder: Path) -> str:
    """The top-level package or module that a file belongs to."""
    return Path(path).relative_to(folder).parts[0].removesuffix(".py")


def merge(counts: Iterable[tuple[str, Count]], folder: Path) -> Census:
    """The census of (path, count) pairs, in whatever order they come."""
    census: Census = {}
    for path, count in counts:
        census.setdefault(package_of(path, folder), Count()).add(count)
    return census
