"""The files for those who host this: what workflows, templates and hooks name is there."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
CLASSIFIERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_is_there(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert set(job.get("needs", [])) <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert set(re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))) <= TARGETS
            for script in re.findall(r"(?<![\w/])(\.ci/\w+)", step.get("run", "")):
                assert (ROOT / script).exists()


def test_each_python_that_the_package_takes_is_tested():
    text = (ROOT / ".github/workflows/ci.yaml").read_text()
    for version in (line.rpartition(" ")[2] for line in CLASSIFIERS if " :: 3." in line):
        assert f'"{version}"' in text


def test_every_template_asks_for_something():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yaml"):
        form = read(path)
        assert {"name", "description", "body"} <= set(form)
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert len(ids) == len(set(ids)) >= 2
        assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_hooks_run_what_is_there():
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    for hook in repository["hooks"]:
        for module in re.findall(r"-m (tests\.[\w.]+)", hook["entry"]):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
