"""The sentences of errors that a user of Scaler can meet, as they stand in the code.

What is filled in is `…`. A sentence is the text of an exception where it is made, or, in the modules and calls that are
named below, a text that becomes one later: what a scheduler refuses a task with, why there is no stack, how a worker
died.

Not here: what peers are told that talk nonsense, and what other processes of ours are; these stand in logs.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT

GAP = "…"
LEAST_WORDS = 3
# Folders and files whose exceptions end a session, a transfer or a process of ours, and reach nobody's program.
OF_PEERS = (
    "scaler/protocol/",
    "scaler/objects/",
    "scaler/session/ledger.py",
    "scaler/session/link.py",
    "scaler/session/task_observers.py",
    "scaler/session/remote_peers.py",
    "scaler/session/session_end.py",
    "scaler/session/session_at_scheduler.py",
    "scaler/session/session_at_relay.py",
    "scaler/session/client_at_scheduler.py::FrameError",
    "scaler/session/cluster_at_scheduler.py",
    "scaler/session/relay_thread.py",
    "scaler/colocation/handshake.py",
    "scaler/colocation/handover.py",
    "scaler/monitor/flight_recorder.py",
    "scaler/program/descriptors.py::ValueError",
    "scaler/cluster/spawn.py::TimeoutError",
    "scaler/client/callables.py::OverflowError",
)
# In these every text of some length is, or ends up in, a sentence for users.
ALL_TEXTS = (
    "scaler/client/large_arguments.py",
    "scaler/cluster/stacks.py",
    "scaler/keys/doorkeeper.py",
    "scaler/keys/find.py",
    "scaler/program/interpreter.py",
    "scaler/scheduler/questions.py",
    "scaler/values/died.py",
)
_NATIVE_ANSWER = re.compile(r"STATUS_(?:REFUSED|NO_WORKER|WORKER_DIED),\s*((?:b\"[^\"]*\"\s*)+)\)")
_NATIVE_RETURN = re.compile(r"(?:return|refuse\(index, record,) (b\"[^\"]* [^\"]*\")")
_NATIVE_ERROR = re.compile(r"raise _?(?:RuntimeError|TimeoutError|BufferError)\(((?:\s*f?\"[^\"]*\")+)\)")


class Message(NamedTuple):
    """A sentence, where it is made."""

    where: str
    text: str


def messages() -> list[Message]:
    """All of them."""
    found = [*_of_python(), *_of_native()]
    return [message for message in found if len(re.findall(r"[A-Za-z]{2,}", message.text)) >= LEAST_WORDS]


def pieces(text: str) -> list[str]:
    """What stands between the gaps."""
    return [piece.strip() for piece in text.split(GAP) if len(re.findall(r"\w+", piece)) >= 1]


def _of_python() -> Iterator[Message]:
    for path in sorted((ROOT / "scaler").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        kinds = {rule.partition("::")[2] for rule in OF_PEERS if name.startswith(rule.partition("::")[0])}
        if "" in kinds:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                kind = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if kind in kinds or kind in ("AssertionError", "AttributeError", "CancelledError"):
                    continue
                if re.search(r"(Error|Exception)$", kind) or kind in ("MissingObjects", "Trouble"):
                    yield from (Message(f"{name}:{node.lineno}", text) for text in _texts(node.args[0]))
        if name in ALL_TEXTS:
            yield from _all_texts(path, name)


def _all_texts(path: Path, name: str) -> Iterator[Message]:
    tree = ast.parse(path.read_text())
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(node.value)  # a docstring
        if isinstance(node, ast.JoinedStr):
            left_out |= set(node.values)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
            "compile",
            "info",
            "warning",
            "error",
            "debug",
        ):
            left_out |= set(ast.walk(node))  # for the log
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node not in left_out:
            yield from (Message(f"{name}:{node.lineno}", text) for text in _texts(node) if len(text.split()) >= 5)


def _texts(node: ast.expr) -> list[str]:
    """What this expression may say."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(v.value) if isinstance(v, ast.Constant) else GAP for v in node.values)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        right = _texts(node.right) or [GAP]
        return [one + other for one in _texts(node.left) or [GAP] for other in right]
    return []


def _of_native() -> Iterator[Message]:
    for path in sorted((ROOT / "native").rglob("*.pyx")):
        if path.parent.name not in ("client", "worker", "scheduler", "shm"):
            continue
        code = path.read_text()
        for pattern in (_NATIVE_ANSWER, _NATIVE_RETURN, _NATIVE_ERROR):
            for found in pattern.finditer(code):
                text = "".join(re.findall(r"\"([^\"]*)\"", found[1]))
                where = f"{path.relative_to(ROOT)}:{code.count(chr(10), 0, found.start()) + 1}"
                yield Message(where, re.sub(r"\{[^}]*\}", GAP, text))
