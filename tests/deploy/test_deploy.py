"""The files of deploy/: what they start runs, and what they name is there.

The programs of compose.yaml and kubernetes.yaml are started as they stand there, as processes of this machine: names of
hosts become 127.0.0.1, ports free ones, and the folder of keys a temporary one. No container engine is needed, so what
a container adds (the image, its users and mounts) is not tried, and is looked at instead.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler import Client
from tests.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
DEPLOYMENTS = {item["metadata"]["name"]: item for item in KUBERNETES if item["kind"] == "Deployment"}
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


class Machine:
    """Where commands of the files run: what stands for their hosts, ports and folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            self.ports = dict(zip(("2345", "2347", "50001"), (each.getsockname()[1] for each in sockets), strict=True))

    def here(self, words: list[str], keys: str) -> list[str]:
        """This command, as it can be run on this machine."""
        command = [self._word(word, keys) for word in words]
        if words[0] == "scaler_scheduler":
            command[1:1] = ["--monitor-address", f"tcp://127.0.0.1:{self.ports['2347']}"]
        if words[0] == "scaler_ui":
            command[1:1] = ["--port", str(self.ports["50001"])]
        if words[0] == "scaler_cluster":
            command = [word if before != "--num-of-workers" else "1" for before, word in zip(["", *command], command)]  # noqa: B905
        return [str(BIN / command[0]) if command[0] in SCRIPTS else command[0], *command[1:]]

    def _word(self, word: str, keys: str) -> str:
        word = re.sub(r"tcp://[\w.-]+:(\d+)", lambda found: f"tcp://127.0.0.1:{self.ports[found[1]]}", word)
        return word.replace("0.0.0.0", "127.0.0.1").replace("/keys", keys)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.ports['2345']}"

    def is_page_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['50001']}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return error.code == 401  # it is there, and asks for its token
        except OSError:
            return False


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, f"{command} has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, command


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_compose_starts_computes(machine):
    folder = str(machine.folder / "keys")
    os.mkdir(folder, 0o700)
    services = COMPOSE["services"]
    path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    for _ in range(2):  # the second time the keys are there
        made = [word.replace("/keys", folder) for word in services["keys"]["command"]]
        subprocess.run(made, check=True, env={**os.environ, **path}, stdout=subprocess.DEVNULL)
    with ExitStack() as stack:
        for name in ("scheduler", "cluster", "page"):
            stack.enter_context(running(machine.here(services[name]["command"], folder), {}))
        with Client(machine.address, keys=f"{folder}/made/client", timeout_seconds=20) as client:
            assert client.map(pow, [(2, 3), (3, 2)]) == [8, 9]
        wait_until(machine.is_page_healthy, 20)


def test_what_kubernetes_starts_computes(machine):
    """Each pod has its own role's secret, with modes as a secret's mount has them."""
    made = machine.folder / "made"
    for words in ([str(made)], ["split", str(made)]):
        subprocess.run([BIN / "scaler_keys", *words], check=True, stdout=subprocess.DEVNULL)
    for path in made.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with ExitStack() as stack:
        for deployment in DEPLOYMENTS.values():
            pod = deployment["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            (secret,) = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
            environment = {each["name"]: each["value"] for each in container["env"]}
            command = machine.here(container["command"], str(made / secret.rpartition("-")[2]))
            stack.enter_context(running(command, environment))
        made.joinpath("client").chmod(0o700)
        for path in made.joinpath("client").iterdir():
            path.chmod(0o600)
        with Client(machine.address, keys=made / "client", timeout_seconds=20) as client:
            assert client.submit(pow, 2, 5).result(timeout=20) == 32
        wait_until(machine.is_page_healthy, 20)


def test_the_manifest_names_what_is_there():
    (service,) = [item for item in KUBERNETES if item["kind"] == "Service"]
    scheduler = DEPLOYMENTS[service["metadata"]["name"]]
    assert service["spec"]["selector"].items() <= scheduler["spec"]["template"]["metadata"]["labels"].items()
    ports = {port["port"] for port in service["spec"]["ports"]}
    for deployment in DEPLOYMENTS.values():
        spec = deployment["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        pod = spec["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["command"][0] in SCRIPTS
            for host, port in re.findall(r"tcp://([\w.-]+):(\d+)", " ".join(container["command"])):
                assert host in ("0.0.0.0", service["metadata"]["name"])
                assert int(port) in ports


def test_compose_names_what_is_there():
    services = COMPOSE["services"]
    volumes = COMPOSE["volumes"]
    for name, service in services.items():
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve().exists()
        assert all(volume.partition(":")[0] in volumes for volume in service["volumes"])
        assert set(service.get("depends_on", [])) <= set(services)
        for host, _ in re.findall(r"tcp://([\w.-]+):(\d+)", " ".join(service["command"])):
            assert host in ("0.0.0.0", *services), name


def test_the_image_is_made_from_what_is_there():
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    copied = [shlex.split(line)[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    names = [name for words in copied for name in words if not words[0].startswith("--from")]
    assert len(names) >= 8
    for name in names:
        assert (ROOT / name).exists(), name
    for names_of_extras in re.findall(r"\.whl\)\[([\w,]+)\]", text):
        assert set(names_of_extras.split(",")) <= set(extras)
    made_from = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for needed in ("setup.py", "pyproject.toml", made_from["readme"], *made_from["license-files"]):
        assert needed in names


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_a_unit_is_one_that_systemd_takes_and_starts_a_command_of_ours(unit, tmp_path):
    text = unit.read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, *words = shlex.split(start)
    from scaler.config.command_line import read_command_line

    config: Any = read_command_line(Path(program).name.removeprefix("scaler_"), words)
    assert config.keys.startswith("/etc/scaler/keys/")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: what systemd says to the unit was not asked")
    copy = tmp_path / unit.name
    copy.write_text(text.replace(program, str(BIN / Path(program).name)).replace("User=scaler", "User=root"))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    assert (said.returncode, unit.name in said.stderr) == (0, False), said.stderr
