"""The kernel kills a worker for want of memory: its task says so, and nobody else is hurt."""

import contextlib
from collections.abc import Iterator

import pytest

from scaler import Client
from scaler.exceptions import ProcessorDiedError
from tests.control_group import control_group
from tests.e2e import calls
from tests.elsewhere import start_elsewhere
from tests.entry_points.commands import Command, SchedulerCommand

GROUP_BYTES = 512 << 20


@pytest.fixture(params=["rings", "wire"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a scheduler outside the group, whose two workers are in it."""
    with control_group(GROUP_BYTES) as inside, contextlib.ExitStack() as schedulers:
        if request.param == "rings":
            address = schedulers.enter_context(SchedulerCommand()).address
        else:
            scheduler, address = start_elsewhere()
            schedulers.callback(scheduler.communicate, timeout=20)
        with Command("scaler_cluster", address, "-n", "2", before=inside) as cluster:
            yield address
            cluster.stop()


def test_a_task_that_takes_too_much_memory_says_so_and_the_others_end_well(address, tmp_path):
    log = tmp_path / "log"
    with Client(address, timeout_seconds=30) as client:
        before = [client.submit(calls.note, str(tmp_path / "others"), number) for number in range(200)]
        greedy = client.options(retries=2).submit(calls.note_and_fill_memory, str(log), 7)
        after = [client.submit(calls.note, str(tmp_path / "others"), number) for number in range(200, 400)]
        with pytest.raises(ProcessorDiedError, match="had no memory left") as caught:
            greedy.result(60)
        assert caught.value.out_of_memory
        assert caught.value.signal_name == "SIGKILL"
        assert GROUP_BYTES // 2 < caught.value.memory_peak <= GROUP_BYTES
        assert caught.value.function.endswith("note_and_fill_memory")
        assert log.read_text() == "7\n" * 3
        assert [future.result(30) for future in before + after] == list(range(400))


def test_a_death_for_another_reason_is_not_put_down_to_memory(address):
    with Client(address, timeout_seconds=30) as client:
        with pytest.raises(ProcessorDiedError) as first:
            client.options(retries=0).submit(calls.fill_memory).result(60)
        with pytest.raises(ProcessorDiedError) as second:
            client.options(retries=0).submit(calls.die).result(60)
        assert first.value.out_of_memory
        assert not second.value.out_of_memory
        assert "no memory left" not in str(second.value)
        assert client.map(calls.add_one, [(number,) for number in range(100)]) == list(range(1, 101))
