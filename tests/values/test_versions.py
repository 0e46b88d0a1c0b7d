"""Versions: of a library that is in two versions, both are named, and of any other nothing is said."""

import importlib.metadata
import pickle
import sys

import pytest

from scaler.exceptions import DeserializeObjectError
from scaler.values import payload, versions


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A function that installs `oddlib` in this version, and forgets what was known of it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "oddlib.py").write_text("class Old:\n    pass\n")

    def install(version):
        for old in tmp_path.glob("oddlib-*.dist-info/*"):
            old.unlink()
        folder = tmp_path / f"oddlib-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: oddlib\nVersion: {version}\n")
        for old in tmp_path.glob("oddlib-*.dist-info"):
            if old != folder:
                old.rmdir()
        versions.find_version.cache_clear()

    yield install
    sys.modules.pop("oddlib", None)
    versions.find_version.cache_clear()


def unreadable(data):
    """The payload of the exception that reading this raises in a worker."""
    try:
        pickle.loads(data)
    except Exception as error:
        return payload.describe(error, True)
    raise AssertionError("it can be read")


def read(described):
    error = payload.load_result(1, 0, described, 7)
    assert type(error) is DeserializeObjectError
    return str(error)


def test_a_library_of_another_version_is_named_with_both(library):
    library("1.5")
    described = unreadable(b"coddlib\nNew\n.")
    library("2.0")
    assert read(described).endswith("(oddlib is 1.5 there and 2.0 here: install the same version on both sides)")


def test_a_library_that_is_missing_there_is_named(library):
    described = unreadable(b"coddlib2\nNew\n.")
    assert versions.find_version("numpy")
    assert "installed there" not in read(described)  # here neither
    assert versions.describe_differences({"numpy": versions.NOT_INSTALLED}).startswith(
        f" (numpy is {importlib.metadata.version('numpy')} here and is not installed there"
    )


def test_of_equal_versions_nothing_is_said(library):
    library("1.5")
    described = unreadable(b"coddlib\nNew\n.")
    assert read(described).endswith("could not be unpickled in the worker: AttributeError: " + str(error_of()))


def error_of():
    try:
        pickle.loads(b"coddlib\nNew\n.")
    except AttributeError as error:
        return error


def test_the_library_of_a_module_is_found_by_the_modules_name():
    assert versions.find_version("yaml") == importlib.metadata.version("pyyaml")
    assert versions.find_version("no_such_module") == versions.NOT_INSTALLED
    assert versions.find_version("tests") is None


def test_what_raises_as_it_is_looked_at_is_described_all_the_same():
    class Odd(Exception):
        def __str__(self):
            raise ValueError("no text")

    error = payload.load_result(1, 0, payload.describe(Odd(), True), 7)
    assert type(error) is DeserializeObjectError
    assert error.libraries == {}
