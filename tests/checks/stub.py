"""scaler/_native.pyi must say what the built extension is: `python -m tests.checks.stub` lists where it does not.

Both are put into the same few words: a line per constant, function, class with its bases, method with its parameters,
their kinds and defaults, and attribute. Then the lines are compared. What a compiled module does not tell is read from
its sources: the parameters of constructors, which attributes may be set, who can be viewed as memory.

Not here: types, which mypy holds against every use; names with an underscore in front, which are nobody's business.
"""

import ast
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from scaler import _native

ROOT = Path(__file__).parents[2]
STUB = ROOT / "scaler" / "_native.pyi"
_ENUMERATOR = re.compile(r"^    ([A-Z_]+) = ([^#\n]+)", re.M)
_CLASS = re.compile(r"^cdef class (\w+).*?:\n(.*?)(?=^\S|\Z)", re.M | re.S)
_CONSTRUCTOR = re.compile(r"^    def __c?init__\((self, .*?)\):$", re.M | re.S)
_PUBLIC = re.compile(r"^    cdef public \w+ (.+?)\s*(?:#.*)?$", re.M)
# What every extension class has or may have, and what the sources tell better.
_UNTOLD = {"__new__", "__init__", "__doc__", "__module__", "__buffer__", "__release_buffer__", "__pyx_vtable__"} | {
    "__reduce__", "__reduce_cython__", "__setstate__", "__setstate_cython__", "__getstate__", "__test__",
}  # fmt: skip


def main() -> int:
    errors = differences(of_stub(STUB.read_text()), of_module(_native, sources()))
    for error in errors:
        print(error)
    if errors:
        print(f"{len(errors)} differences between {STUB.relative_to(ROOT)} and the built module")
    return int(bool(errors))


def differences(stub: dict[str, str], module: dict[str, str]) -> list[str]:
    """One sentence for each name that is not the same in both."""
    return [
        f"{name}: the stub says `{stub.get(name, 'nothing')}`, the module `{module.get(name, 'nothing')}`"
        for name in sorted(stub.keys() | module.keys())
        if stub.get(name) != module.get(name)
    ]


def sources() -> str:
    """All parts of the extension, one after the other."""
    return "\n".join(path.read_text() for path in sorted((ROOT / "native").rglob("*.p[xy]*")))


# the built module


def of_module(module: ModuleType, source: str) -> dict[str, str]:
    """What the module is, by name."""
    numbers = {name: eval(value, {"__builtins__": {}}) for name, value in _ENUMERATOR.findall(source)}
    lines = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if isinstance(value, type):
            lines[name] = _class_line(base.__name__ for base in value.__bases__ if base is not object)
            lines |= {f"{name}.{member}": line for member, line in _members(value)}
        else:
            lines[name] = "number" if type(value) is int else _signature(value)
    for name, body in _CLASS.findall(source):
        for parameters in _CONSTRUCTOR.findall(body):
            lines[f"{name}.__init__"] = _parameters_of_source(parameters, numbers)
        for names in _PUBLIC.findall(body):
            lines |= {f"{name}.{attribute}": "attribute" for attribute in re.split(r",\s*", names)}
        if "def __getbuffer__" in body:
            lines[f"{name}.__buffer__"] = "special method"
    return lines


def _members(cls: type) -> list[tuple[str, str]]:
    found = []
    for name, value in vars(cls).items():
        if name.startswith("__"):
            if name not in _UNTOLD:
                found.append((name, "special method"))
        elif not name.startswith("_"):
            if inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value):
                found.append((name, "attribute, read only"))
            elif isinstance(value, staticmethod):
                found.append((name, "static " + _signature(value.__func__)))
            else:
                found.append((name, _signature(value)))
    return found


def _signature(function: Any) -> str:
    """The parameters. Where the source has bytes as a default, a compiled function has Cython's view of them."""
    signature = inspect.signature(function)
    parameters = []
    for parameter in signature.parameters.values():
        is_view = type(parameter.default).__name__ == "_memoryviewslice"
        parameters.append(parameter.replace(default=bytes(parameter.default)) if is_view else parameter)
    return str(signature.replace(parameters=parameters))


def _parameters_of_source(text: str, numbers: dict[str, int]) -> str:
    """As _signature, from `self, Segment memory not None, uint32_t life=1, *, load`."""
    parts = []
    for parameter in re.split(r",\s*", text):
        declared, _, default = parameter.partition("=")
        name = declared.removesuffix(" not None").split()[-1]
        parts.append(f"{name}={numbers.get(default, default)}" if default else name)
    return f"({', '.join(parts)})"


# the stub


def of_stub(text: str) -> dict[str, str]:
    """What the stub says, by name."""
    lines = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            lines[node.name] = _class_line(ast.unparse(base) for base in node.bases)
            for member in node.body:
                lines |= {f"{node.name}.{name}": line for name, line in _statement(member, "attribute")}
        else:
            lines |= dict(_statement(node, "number"))
    return lines


def _statement(node: ast.stmt, what: str) -> list[tuple[str, str]]:
    if isinstance(node, ast.AnnAssign):
        name = ast.unparse(node.target)
        return [] if name.startswith("_") else [(name, what if node.value is None else "number with a value")]
    if isinstance(node, ast.FunctionDef):
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        if node.name.startswith("__") and node.name != "__init__":
            return [(node.name, "special method")]
        if decorators == ["property"]:
            return [(node.name, "attribute, read only")]
        line = _parameters_of_stub(node.args)
        if node.name == "__init__" and line == "(self)":
            return []  # as if it were not there
        return [(node.name, "static " + line if decorators == ["staticmethod"] else line)]
    is_prose = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return [] if isinstance(node, ast.ImportFrom) or is_prose else [(ast.unparse(node), "not understood here")]


def _parameters_of_stub(arguments: ast.arguments) -> str:
    """As inspect writes them, without types."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for argument in [*every, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    return f"({ast.unparse(arguments)})"


def _class_line(bases: Any) -> str:
    return f"class({', '.join(bases)})"


if __name__ == "__main__":
    sys.exit(main())
