"""What programs written for scaler 1.9.9 take for granted of names and signatures; docs/contract.md has the rest."""

import inspect
from pathlib import Path

import pytest

import scaler
from scaler import Client
from scaler.client.serializer import Serializer

NAMES = (
    "Client", "Cluster", "ObjectReference", "ScalerFuture", "Scheduler", "SchedulerClusterCombo", "Serializer",
    "__version__",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_names_that_programs_import_are_there(name):
    assert getattr(scaler, name) is not None
    assert name in scaler.__all__
    assert name in dir(scaler)


def test_a_client_takes_what_it_took_in_the_version_before():
    parameters = list(inspect.signature(Client).parameters.values())
    assert [(each.name, each.default) for each in parameters[1:5]] == [
        ("profiling", False), ("timeout_seconds", 60), ("heartbeat_interval_seconds", 2), ("serializer", None)
    ]  # fmt: skip
    assert parameters[0].name == "address"
    assert {each.kind for each in parameters[5:]} == {inspect.Parameter.KEYWORD_ONLY}


def test_a_serializer_is_two_static_methods():
    assert isinstance(inspect.getattr_static(Serializer, "serialize"), staticmethod)
    assert isinstance(inspect.getattr_static(Serializer, "deserialize"), staticmethod)
    assert inspect.isabstract(Serializer)


def test_the_package_says_that_it_is_typed():
    assert (Path(scaler.__file__).parent / "py.typed").exists()
