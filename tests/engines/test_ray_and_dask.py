"""Ray and Dask, the real ones, each in an environment of its own: installing one takes a minute."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scaler import Client
from scaler.exceptions import TaskTimeoutError, WorkerDiedError
from tests.engines import calls
from tests.engines.conftest import READY
from tests.entry_points.commands import Command, SchedulerCommand, run

ROOT = Path(__file__).parents[2]
NEEDED = ["pyzmq", "pycapnp", "cloudpickle", "cryptography", "numpy"]
PACKAGES = {"ray": "ray", "dask": "distributed"}
RESULT_S = 90
pytestmark = [pytest.mark.at_night, pytest.mark.timeout(900)]


def new_environment(folder: Path, package: str) -> Path:
    """The bin folder of an environment with this package and with ours, as it stands in this tree."""
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, text=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *NEEDED, package]
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=600)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{package} cannot be installed here, so nothing of it is tested: {error}\n{error.stderr!r}")
    (places,) = (folder / "lib").glob("python*/site-packages")
    for file in Path(sysconfig.get_path("purelib")).glob("__editable__*scaler*"):
        shutil.copy(file, places / file.name)
    return folder / "bin"


@pytest.fixture(scope="module", params=["ray", "dask"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    programs = new_environment(tmp_path_factory.mktemp(request.param) / "environment", PACKAGES[request.param])
    script = programs / "scaler_engine"
    script.write_text(
        f"#!{programs / 'python'}\nimport sys\nfrom scaler.entry_points.engine import main\n"
        'if __name__ == "__main__":\n    sys.exit(main())\n'
    )
    script.chmod(0o755)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)  # what the tests have tasks run
    try:
        with (
            SchedulerCommand() as scheduler,
            Command(str(script), scheduler.address, "--engine", request.param) as command,
        ):
            command.await_line(READY, timeout_s=90)
            with Client(scheduler.address, timeout_seconds=20) as made:
                yield made
            assert command.stop() == 0, command.err
            assert scheduler.stop() == 0
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def test_tasks_maps_and_arrays_run_there(client):
    assert client.submit(calls.add, 1, b=2, c=3).result(RESULT_S) == 6
    assert client.map(calls.add, [(i, 1) for i in range(20_000)]) == list(range(1, 20_001))
    assert client.submit(calls.twice, np.arange(50_000.0)).result(RESULT_S)[-1] == 2 * 49_999
    reference = client.send_object(np.ones(100_000))
    assert client.map(calls.total, [(reference,)] * 8) == [100_000.0] * 8
    with pytest.raises(calls.OwnError, match="number 7"):
        client.submit(calls.fail, 7).result(RESULT_S)


def test_ten_thousand_small_tasks_are_few_jobs(client):
    futures = [client.submit(calls.same, i) for i in range(10_000)]
    assert [future.result(RESULT_S) for future in futures] == list(range(10_000))


def test_tasks_may_wait_for_tasks(client):
    assert client.submit(calls.fibonacci, client, 7).result(RESULT_S) == 13
    parents = [client.submit(calls.nested_map, client, 20) for _ in range(6)]
    assert [future.result(RESULT_S) for future in parents] == [210] * 6


def test_a_task_that_runs_too_long_is_stopped(client):
    with pytest.raises(TaskTimeoutError, match=r"its limit of 0\.5 s"):
        client.options(timeout=0.5).submit(calls.spin, 30).result(RESULT_S)
    assert client.submit(calls.same, 1).result(RESULT_S) == 1


def test_a_task_whose_process_dies_is_run_again_and_one_that_kills_each_fails(client, tmp_path):
    assert client.submit(calls.die_once, str(tmp_path)).result(RESULT_S) == "alive"
    with pytest.raises(WorkerDiedError):
        client.submit(calls.die).result(RESULT_S)
    assert client.submit(calls.same, 1).result(RESULT_S) == 1


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_an_engine_that_is_not_installed_is_one_line_with_what_to_do(engine):
    ended = run("scaler_engine", "tcp://127.0.0.1:1", "--engine", engine)
    if ended.returncode == 0 or PACKAGES[engine] in sys.modules:
        pytest.skip(f"{engine} is installed beside these tests")
    assert ended.returncode == 1
    assert f"there is no package {PACKAGES[engine]} here: `pip install {PACKAGES[engine]}`" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
