"""The exceptions that programs catch by name."""

import ast
import pickle
from pathlib import Path

import pytest

from scaler import exceptions

NAMES = [
    "TaskNotFoundError", "WorkerDiedError", "NoWorkerError", "DisconnectedError", "ProcessorDiedError",
    "DeserializeObjectError", "MissingObjects", "ClientCancelledException", "ClientShutdownException",
    "ClientQuitException",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_programs_catch_is_there_and_has_the_common_base(name):
    kind = getattr(exceptions, name)
    assert issubclass(kind, exceptions.ScalerError)
    copy = pickle.loads(pickle.dumps(kind("a sentence")))
    assert type(copy) is kind
    assert str(copy) == "a sentence"


def test_what_a_client_raises_after_a_shutdown_is_what_it_raises_after_a_disconnect():
    assert issubclass(exceptions.ClientShutdownException, exceptions.ClientQuitException)
    assert issubclass(exceptions.ProcessorDiedError, exceptions.WorkerDiedError)


def test_each_is_raised_by_something_or_says_that_nothing_raises_it():
    root = Path(__file__).parents[1]
    used: set[str] = set()
    for path in (root / "scaler").rglob("*.py"):
        if path != root / "scaler/exceptions.py":
            used |= {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    tree = ast.parse((root / "scaler/exceptions.py").read_text())
    bases = {ast.unparse(base) for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name in bases:
            continue
        is_used = node.name in used
        says_so = "nothing raises it" in (ast.get_docstring(node) or "")
        assert is_used != says_so, f"{node.name} is {'' if is_used else 'never '}raised"
