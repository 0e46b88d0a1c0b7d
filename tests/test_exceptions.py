"""The exceptions that programs catch by name."""

import pickle

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
