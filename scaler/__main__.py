"""`python -m scaler`: which commands there are."""

import ast
import sys
from pathlib import Path

COMMANDS = Path(__file__).parent / "entry_points"


def describe() -> str:
    """A line for each command: its name, and the first sentence of its module."""
    lines = []
    for path in sorted(COMMANDS.glob("*.py")):
        tree = ast.parse(path.read_text())
        about = (ast.get_docstring(tree) or "").partition("\n")[0]
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            lines.append(f"  scaler_{path.stem:<20}{about.partition(': ')[2] or about}")
    return "Scaler's commands; each says more with -h:\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(describe() + "\n")
