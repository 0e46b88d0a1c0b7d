"""Report: what was measured, as a table for people and as a JSON file for later comparisons.

A figure stands beside its target where it has one; it is a statement and never a check, since machines differ.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("scaler", "pyzmq", "pycapnp", "cloudpickle", "psutil", "cython")


@dataclass
class Figure:
    """One line of the table. `worst` is that of the rounds, if there were rounds; `target` is at least or at most.

    Without a value it says why there is none.
    """

    what: str
    value: float | None
    unit: str
    worst: float | None = None
    target: float | None = None
    at_most: bool = False  # less is better
    rounds: list[float] = field(default_factory=list)
    why_not: str = ""

    @property
    def verdict(self) -> str:
        if self.target is None or self.value is None:
            return ""
        return "met" if (self.value <= self.target if self.at_most else self.value >= self.target) else "MISSED"


def of_rounds(what: str, values: list[float], unit: str, target: float | None = None, at_most: bool = False) -> Figure:
    """The median of some rounds, and the worst of them."""
    ordered = sorted(values)
    worst = ordered[-1] if at_most else ordered[0]
    return Figure(what, ordered[len(ordered) // 2], unit, worst, target, at_most, values)


def not_measured(what: str, why: str) -> Figure:
    return Figure(what, None, "", why_not=why)


def show(value: float) -> str:
    """Three significant digits, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def print_heading(text: str) -> None:
    print(f"\n{text}")
    print(f"  {'':<58}{'median':>12}{'worst':>12}  {'unit':<10}{'target':>12}", flush=True)


def print_figure(figure: Figure) -> None:
    if figure.value is None:
        print(f"  {figure.what:<58}  NOT MEASURED: {figure.why_not}", flush=True)
        return
    worst = "" if figure.worst is None else show(figure.worst)
    target = "" if figure.target is None else ("<= " if figure.at_most else ">= ") + show(figure.target)
    line = f"  {figure.what:<58}{show(figure.value):>12}{worst:>12}  {figure.unit:<10}{target:>12}  {figure.verdict}"
    print(line.rstrip(), flush=True)


def machine() -> dict[str, Any]:
    """Where and with what this is measured."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain")),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1_min": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def print_machine(about: dict[str, Any]) -> None:
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    changed = " and changes since" if about["changed_since"] else ""
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load_1_min']:.1f}, Linux {about['kernel']}")
    print(f"Python {about['python']}, {packages}; commit {about['commit']}{changed}; {about['date']}", flush=True)
    for name, versions in about.get("peers", {}).items():
        print(f"{name}: " + ", ".join(f"{package} {version}" for package, version in versions.items()), flush=True)


def write_json(
    program: str, about: dict[str, Any], sections: dict[str, list[Figure]], headings: dict[str, str]
) -> Path:
    """The file it was written to, in perf/results."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{program.replace('perf.', '')}.json"
    figures = {row: [asdict(figure) for figure in section] for row, section in sections.items()}
    path.write_text(
        json.dumps({"program": program, "machine": about, "headings": headings, "figures": figures}, indent=1) + "\n"
    )
    return path


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
