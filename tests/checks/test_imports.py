"""The check of imports finds what breaks each of its rules."""

from pathlib import Path

import pytest

from tests.checks.imports import MAY_IMPORT, cycles, loaded_by_worker, main, violations


def test_the_tree_keeps_the_rules():
    assert main() == 0


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("scaler/client/client.py", "import scaler.scheduler.scheduler"),
        ("scaler/client/client.py", "from scaler.cluster import spawn"),
        ("scaler/client/client.py", "from scaler import cluster"),
        ("scaler/client/client.py", "from scaler import Client"),
        ("scaler/client/client.py", "import scaler"),
        ("scaler/client/client.py", "def f():\n    from scaler.scheduler.program import run"),
        ("scaler/client/client.py", "if TYPE_CHECKING:\n    from scaler.scheduler.program import run"),
        ("scaler/client/client.py", "from ..scheduler import program"),
        ("scaler/client/__init__.py", "from ..scheduler import program"),
        ("scaler/client/client.py", "importlib.import_module('scaler.scheduler')"),
        ("scaler/protocol/codec.py", "from scaler.values.payload import dumps"),
        ("scaler/exceptions.py", "from scaler.values.payload import dumps"),
        ("scaler/session/dealer.py", "from scaler.values.payload import dumps"),
        ("scaler/colocation/listener.py", "from scaler.session.session_at_relay import SessionAtRelay"),
        ("scaler/cluster/supervisor.py", "from scaler.scheduler.program import run"),
        ("scaler/cluster/supervisor.py", "from scaler.worker.main import main"),
        ("scaler/worker/main.py", "from scaler.cluster.spawn import Child"),
        ("scaler/worker/main.py", "from scaler.protocol.frames import Frame"),
        ("scaler/scheduler/program.py", "from scaler.cluster.spawn import Child"),
        ("scaler/scheduler/program.py", "from scaler.entry_points.command import run_command"),
        ("scaler/novelty/first.py", "from scaler.exceptions import ScalerError"),
        ("scaler/client/client.py", "import scaler.novelty"),
        ("scaler/client/client.py", "import zmq"),
        ("scaler/client/client.py", "from zmq.utils import monitor"),
        ("scaler/protocol/frames.py", "import capnp"),
        ("scaler/values/payload.py", "import subprocess"),
    ],
)
def test_import_against_the_rules_is_found(path, source):
    errors = violations(Path(path), source)
    assert len(errors) == 1
    assert errors[0].startswith(f"{path}:{source.count(chr(10)) + 1}: ")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("scaler/client/client.py", "from . import future\nfrom .future import ScalerFuture"),
        ("scaler/client/client.py", "from scaler.values import payload, reference"),
        ("scaler/client/client.py", "import os, json.decoder"),
        ("scaler/worker/main.py", "from scaler.program.creator import Creator"),
        ("scaler/entry_points/command.py", "from scaler.scheduler.program import run"),
        ("scaler/scheduler/listening.py", "import zmq"),
        ("scaler/__init__.py", "from scaler.client.client import Client"),
    ],
)
def test_import_by_the_rules_is_not(path, source):
    assert violations(Path(path), source) == []


def test_circle_in_the_table_is_found():
    assert "circle" in cycles({**MAY_IMPORT, "scaler.colocation": "session"})[0]


def test_name_without_a_row_is_found():
    assert "no row" in cycles({**MAY_IMPORT, "scaler.colocation": "colocations"})[0]


def test_what_a_process_has_loaded_is_found():
    assert any("asyncio" in error for error in loaded_by_worker("scaler.scheduler.program"))
    assert "cannot be imported" in loaded_by_worker("scaler.cluster.novelty")[0]
