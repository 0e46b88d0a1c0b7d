"""Python imports this before all else, and from then on `scaler._native` is the extension that was built to be checked.

It stands beside the package and not in it, so that the one that is installed stays as it is. By this file, and not by
an argument, the same holds for every process that a test starts.
"""

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType


class SanitizedFinder:
    """Finds one module, in the file that our variable names."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self._path) if name == "scaler._native" else None


sys.meta_path.insert(0, SanitizedFinder(os.environ["SCALER_SANITIZED"]))
