"""Imports go one way, as this table says: `python -m tests.checks.imports` lists those that do not.

`native` and `protocol` know nobody; `colocation`, `objects` and `session` move bytes and know no task; a client knows
neither schedulers nor clusters; a program that needs a command starts it, so nothing imports `entry_points`, nor
`scaler` itself, whose names are for users. Imports inside functions and for type checking count like all others.

A worker must start quickly, so its process is looked at while it lives: it has loaded none of HEAVY.

Rule 1: a module belongs to the longest name in MAY_IMPORT that it begins with, and may import what is listed there, and
        its own kind. What is in no row is an error, so a new package gets a row before it gets an import.
Rule 2: the table has no cycles.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANYTHING = "*"

MAY_IMPORT: dict[str, str] = {
    "scaler._native": "",
    "scaler.exceptions": "",
    "scaler.address": "exceptions",
    "scaler.program": "_native exceptions",
    "scaler.config": "address exceptions keys values.resources",
    "scaler.protocol.schema_file": "",
    "scaler.protocol": "_native address exceptions protocol.schema_file",
    "scaler.values.death_facts": "",
    "scaler.values.usage": "",
    "scaler.values.resources": "",
    "scaler.values": "_native exceptions values.death_facts values.resources",
    "scaler.cancellation": "_native exceptions program",
    "scaler.colocation": "_native exceptions program",
    "scaler.objects": "_native address colocation exceptions program protocol",
    "scaler.session": "_native address cancellation colocation exceptions keys objects program protocol "
    "values.death_facts values.usage",
    "scaler.worker": "_native exceptions values",
    "scaler.worker.main": "_native cancellation colocation exceptions program values worker",
    "scaler.worker.template": "_native program worker worker.main",
    "scaler.client": "_native address colocation exceptions keys monitor objects program protocol session values "
    "values.resources worker",
    "scaler.cluster": "_native address cancellation colocation config exceptions keys program protocol session "
    "values.death_facts values.resources values.usage",
    "scaler.engines": "_native address cancellation colocation config exceptions keys objects program protocol session "
    "values values.death_facts worker",
    "scaler.launch": "cluster colocation config exceptions program",
    "scaler.scheduler": "_native address cancellation colocation config exceptions keys monitor objects program "
    "protocol session values.death_facts values.resources values.usage",
    "scaler.keys": "address exceptions program",
    "scaler.monitor": "_native address exceptions keys protocol.schema_file",
    "scaler.monitor.top": "config exceptions monitor program",
    "scaler.monitor.page": "address config exceptions monitor program",
    "scaler.integrations": "_native client cluster exceptions program values",
    "scaler.__main__": "",
    "scaler.joblib": "client integrations worker",
    "scaler.pool": "client integrations",
    "scaler.progress": "client integrations",
    "scaler": "client cluster integrations program values worker",
    "scaler.entry_points": ANYTHING,
}
# Libraries that are dear to load or have one place where they are used.
MAY_USE = {
    "aiohttp": {"scaler.monitor.page"},
    "blessed": {"scaler.monitor.top.terminal"},
    "capnp": {"scaler.protocol.codec", "scaler.protocol.schema_file"},
    "cloudpickle": {
        "scaler.engines.symphony",
        "scaler.values.by_name",
        "scaler.values.by_value",
        "scaler.values.untravelling",
    },
    "cryptography": {"scaler.objects.sealed"},
    "graphblas": {"scaler.client.graph.convert"},
    "numpy": {
        "scaler.client.graph.convert",
        "scaler.client.graph.matrix",
        "scaler.client.graph.matrix_keys",
        "scaler.monitor.page",
    },
    "scipy": {"scaler.client.graph.convert"},
    "prometheus_client": {"scaler.monitor.page"},
    "joblib": {"scaler.joblib"},
    "psutil": {"scaler.cluster.usage_sampler"},
    "subprocess": {"scaler.cluster.spawn", "scaler.engines.symphony.engine", "scaler.launch"},
    "tqdm": {"scaler.client.progress"},
    "uvloop": {"scaler.program.event_loop", "scaler.scheduler.pump_loop"},
    "wcwidth": {"scaler.monitor.top.text"},
    "zmq": {
        "scaler.keys",
        "scaler.monitor.subscriber",
        "scaler.session.contexts",
        "scaler.session.dealer",
        "scaler.scheduler",
    },
}
WORKER = "scaler.worker.template"
_IMPORTING_CALLS = ("__import__", "import_module", "importlib.import_module")
HEAVY = ("asyncio", "capnp", "cryptography", "psutil", "subprocess", "uvloop", "zmq")


def main() -> int:
    errors = [*cycles(MAY_IMPORT), *loaded_by_worker()]
    for path in sorted((ROOT / "scaler").rglob("*.py")):
        errors += violations(path.relative_to(ROOT), path.read_text())
    errors += imports_of_native()
    print("\n".join(errors), end="\n" if errors else "")
    return int(bool(errors))


def violations(path: Path, source: str) -> list[str]:
    """What this file imports against the rules, a line for each."""
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    errors = []
    for line, imported in _imports(source, module, path.name == "__init__.py"):
        why = _why_not(module, imported)
        if why is not None:
            errors.append(f"{path}:{line}: imports {imported}, but {why}")
    return errors


def _why_not(module: str, imported: str) -> str | None:
    if imported.partition(".")[0] != "scaler":
        users = MAY_USE.get(imported.partition(".")[0])
        if users is None or any(_begins_with(module, user) for user in users):
            return None
        return f"only {' and '.join(sorted(users))} may"
    row, target = _row_of(module), _row_of(imported)
    if row is None or target is None:
        return f"{module if row is None else imported} has no row in the table of {Path(__file__).name}"
    allowed = MAY_IMPORT[row]
    if target == row or allowed == ANYTHING or target in {f"scaler.{name}" for name in allowed.split()}:
        return None
    return f"{row} may import {f'no more than {allowed}' if allowed else 'nothing of scaler'}"


def _row_of(module: str) -> str | None:
    """The row of the table that a module belongs to. That of `scaler` is for the package's own file alone."""
    rows = [row for row in MAY_IMPORT if _begins_with(module, row) and (row != "scaler" or module == "scaler")]
    return max(rows, key=len, default=None)


def _begins_with(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")


def _imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of each module that is imported anywhere in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                parts = module.split(".")
                package = parts[: len(parts) - node.level + is_package]
                home = ".".join([*package, home] if home else package)
            for alias in node.names:
                yield node.lineno, f"{home}.{alias.name}" if _is_module(f"{home}.{alias.name}") else home
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _IMPORTING_CALLS:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield node.lineno, str(argument.value)


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or path.with_suffix(".pyi").exists() or (path / "__init__.py").exists()


def cycles(table: dict[str, str]) -> list[str]:
    """The table's own error, if it has one."""
    graph = {row: {f"scaler.{name}" for name in names.split() if name != ANYTHING} for row, names in table.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"the table goes round in a circle: {' -> '.join(error.args[1])}"]
    return [f"the table names {name}, which has no row" for row in graph for name in graph[row] if name not in table]


def imports_of_native() -> list[str]:
    """Lines of the extension's sources that import the package."""
    return [
        f"{path.relative_to(ROOT)}:{number}: imports scaler, but native knows nobody"
        for path in sorted((ROOT / "native").rglob("*.p[xy]*"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.split()[:1] in (["import"], ["from"], ["cimport"]) and line.split()[1].partition(".")[0] == "scaler"
    ]


def loaded_by_worker(module: str = WORKER) -> list[str]:
    """What a process has loaded, though it should not, after it has imported a worker's main module."""
    program = f"import sys, {module}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if answer.returncode:
        return [f"{module} cannot be imported: {answer.stderr.strip()}"]
    loaded = set(answer.stdout.split())
    return [f"a process that has imported {module} has loaded {name}" for name in HEAVY if name in loaded]


if __name__ == "__main__":
    sys.exit(main())
