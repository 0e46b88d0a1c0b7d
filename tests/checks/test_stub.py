"""The check of the stub finds what is wrong with one."""

import pytest

from scaler import _native
from tests.checks.stub import STUB, differences, of_module, of_stub, sources


def differing_names(stub: str) -> list[str]:
    """Names of what the check has to say about this stub."""
    return [line.partition(":")[0] for line in differences(of_stub(stub), of_module(_native, sources()))]


def test_stub_is_right():
    assert differing_names(STUB.read_text()) == []


@pytest.mark.parametrize(
    ("here", "instead", "names"),
    [
        ("KIND_TASK: Final[int]\n", "", ["KIND_TASK"]),
        ("KIND_TASK: Final[int]\n", "KIND_TASK: Final[int]\nKIND_TUSK: Final[int]\n", ["KIND_TUSK"]),
        ("KIND_TASK: Final[int]\n", "KIND_TASK: Final[int] = 1\n", ["KIND_TASK"]),
        ("KIND_TASK: Final[int]\n", "def KIND_TASK() -> int: ...\n", ["KIND_TASK"]),
        ("class RingOutlet(Outlet):", "class RingOutlet:", ["RingOutlet"]),
        ("class Meter: ...", "", ["Meter"]),
        ("    def take_back(self, position: int) -> bool: ...\n", "", ["Ring.take_back"]),
        ("def take_back(self, position: int)", "def take_back(self, place: int)", ["Ring.take_back"]),
        ("def take_back(self, position: int)", "def take_back(self, position: int, /)", ["Ring.take_back"]),
        ("def run(self, look_everywhere: bool = False,", "def run(self, look_everywhere: bool,", ["Pump.run"]),
        ("limit_ns: int = 2000000", "limit_ns: int = 2000001", ["Pump.run"]),
        ("payload: Buffer = b\"\"", "payload: Buffer = b\" \"", ["Ring.write"]),
        ("def read(self, *, claim: bool", "def read(self, claim: bool", ["Ring.read"]),
        ("        profiling: bool = False,\n", "", ["ClientRings.__init__"]),
        ("def __init__(self, most_bytes: int = 1073741824)", "def __init__(self, most_bytes: int = 4096)", [
            "RecordRun.__init__"]),
        ("    @staticmethod\n    def open(", "    def open(", ["Segment.open"]),
        ("    @property\n    def capacity", "    def capacity", ["Ring.capacity"]),
        ("    @property\n    def size(self) -> int: ...\n", "    size: int\n", ["Segment.size"]),
        ("    stopping: bool\n", "    @property\n    def stopping(self) -> bool: ...\n", ["WorkerLoop.stopping"]),
        ("    def __len__(self) -> int: ...\n", "", ["Store.__len__"]),
        ("    def __buffer__(self, flags: int, /) -> memoryview: ...\n", "", ["Segment.__buffer__"]),
    ],
)  # fmt: skip
def test_each_kind_of_error_is_found(here, instead, names):
    assert differing_names(STUB.read_text().replace(here, instead, 1)) == names
