"""scaler_ui as a process on a real socket, without a browser: pages, feed, metrics, downloads, and what is refused."""

import asyncio
import contextlib
import csv
import io
import json
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scaler.monitor.codec import encode
from scaler.monitor.page.views import VIEWS
from scaler.monitor.recording import FIRST_LINE, Recorder
from tests.entry_points.commands import run
from tests.monitor.page.page import Page, publishing


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with publishing(workers=6, rate=200) as address, Page(address) as made:
        yield made


def read(message: bytes) -> dict[str, Any]:
    length = int.from_bytes(message[:4], "little")
    header: dict[str, Any] = json.loads(message[4 : 4 + length])
    return header


@asynccontextmanager
async def feed(page: Page, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{page.url}feed", headers=headers) as socket:
        yield socket


def test_the_page_and_its_bundle_are_served_with_a_strict_policy(page):
    index = page.get("")
    assert index.status == 200
    assert "default-src 'self'" in index.headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=\"(/|https?:)", index.text), "an address that is not relative"
    for name in re.findall(r"(?:src|href)=\"([a-z.]+)\"", index.text):
        assert page.get(name).status == 200, name
    assert page.get("../../pyproject.toml").status == 404
    assert page.get("%2e%2e%2fprogram.py").status == 404


def test_every_view_is_sent_and_downloaded(page):
    async def look() -> None:
        async with feed(page) as socket:
            for view in VIEWS:
                arguments = {"name": "alpha-0000", "task": "1", "span": 10, "columns": 50, "rows": 4}
                await socket.send_json({"view": view, "arguments": arguments})
                while True:
                    message = read(await socket.receive_bytes(timeout=5))
                    if message["view"] == view:
                        break
                assert message["head"]["counts"]["submitted"] > 0

    asyncio.run(look())
    for view in VIEWS:
        assert json.loads(page.get(f"download/{view}.json").text) is not None
        assert page.get(f"download/{view}.csv").status == 200


def test_the_counts_of_the_head_the_download_and_the_metrics_are_the_same_sums(page):
    text = page.get("metrics").text
    ended = {state: float(value) for state, value in re.findall(r'scaler_tasks_total\{state="(\w+)"\} (\S+)', text)}
    open_ = {state: float(value) for state, value in re.findall(r'scaler_tasks\{state="(\w+)"\} (\S+)', text)}
    (submitted,) = re.findall(r"^scaler_tasks_submitted_total (\S+)", text, re.M)
    assert float(submitted) == sum(ended.values()) + sum(open_.values())


def test_a_browser_is_sent_names_once_and_numbers_each_round(page):
    async def look() -> list[dict[str, Any]]:
        async with feed(page) as socket:
            await socket.send_json({"view": "workers"})
            return [read(await socket.receive_bytes(timeout=5)) for _ in range(3)]

    first, second, third = (message["tables"]["rows"]["columns"]["name"] for message in asyncio.run(look()))
    assert first[0] == "text"
    assert len(first[1]) == 6
    assert second == third == ["same", 0]


def test_a_hidden_tab_is_sent_nothing(page):
    async def look() -> None:
        async with feed(page) as socket:
            await socket.send_json({"view": "workers"})
            await socket.receive_bytes(timeout=5)
            await socket.send_json({"view": None})
            with contextlib.suppress(TimeoutError):  # what was on its way
                await socket.receive_bytes(timeout=0.5)
            with pytest.raises(TimeoutError):
                await socket.receive_bytes(timeout=1)

    asyncio.run(look())


@pytest.mark.parametrize(
    "text",
    [
        "rubbish",
        "[]",
        '{"view": "no such"}',
        '{"view": ["workers"]}',
        '{"view": "workers", "arguments": 7}',
        "[" * 9000,
    ],
)
def test_a_message_that_makes_no_sense_ends_its_connection_and_no_other(page, text):
    async def look() -> None:
        async with feed(page) as good, feed(page) as bad:
            await bad.send_str(text)
            assert (await bad.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            await good.send_json({"view": "overview"})
            assert read(await good.receive_bytes(timeout=5))["view"] == "overview"

    asyncio.run(look())


@pytest.mark.parametrize(
    "arguments",
    [
        {"span": "x", "end": [], "columns": 1e400, "rows": -5, "lanes": "0", "first": 10**30},
        {"span": float("nan"), "columns": 10**9, "rows": 10**9, "function": "(a+)+$" * 1000, "worker": {"a": 1}},
        {"name": "\x00", "task": "zz", "outcome": 7, "least_s": "∞", "exception": None},
    ],
)
def test_arguments_of_any_kind_break_no_view(page, arguments):
    async def look() -> None:
        async with feed(page) as socket:
            for view in VIEWS:
                await socket.send_str(json.dumps({"view": view, "arguments": arguments}))
                while read(await socket.receive_bytes(timeout=5))["view"] != view:
                    pass

    asyncio.run(look())


def test_a_foreign_page_may_not_open_the_feed_nor_a_foreign_name_the_page(page):
    async def look() -> None:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                async with feed(page, **headers):
                    pass

    asyncio.run(look())
    assert page.get("metrics", Host="evil.example").status == 403


def test_a_download_opens_in_a_spreadsheet_and_runs_nothing(page):
    rows = list(csv.DictReader(io.StringIO(page.get("download/workers.csv").text)))
    assert [row["name"] for row in rows][:2] == ["alpha-0000", "beta-0001"]
    assert rows[0]["task"] == f"{1:016x}"


def test_health_says_whether_reports_come(page):
    assert (page.get("health").status, page.get("health").text) == (200, "ok\n")


def test_a_token_is_asked_for_beyond_this_machine_and_becomes_a_cookie():
    with publishing() as address, Page(address, "--host", "0.0.0.0", "--token", "sesame") as page:
        assert page.get("").status == 401
        assert page.get("metrics").status == 401
        assert page.get("metrics", Authorization="Bearer sesame").status == 200
        entered = page.get("?token=sesame", follow=False)
        assert (entered.status, entered.headers["Location"]) == (303, "./")
        cookie = entered.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert page.get("", Cookie=cookie.partition(";")[0]).status == 200


def test_beyond_this_machine_a_random_token_is_logged():
    with publishing() as address, Page(address, "--host", "0.0.0.0") as page:
        assert page.get("").status == 401
        assert re.search(r"\?token=[\w-]{24,}", page.command.out)


def test_a_port_in_use_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("scaler_ui", "--port", str(port), f"ipc://{tmp_path}/none")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port}" in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"PK\x03\x04", "is no recording"),
        (b"scaler recording 9\n", "of another version"),
        (FIRST_LINE, "without a single report"),
        (FIRST_LINE + b"\x10\x00", "is cut or damaged after"),
        (FIRST_LINE + b"\xff" * 50, "is cut or damaged after"),
    ],
)
def test_a_file_that_is_no_recording_is_one_clear_line(tmp_path, content, words):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    done = run("scaler_ui", str(path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "http://localhost:1", "tcp://*:5", "tcp://127.0.0.1:99999"])
def test_a_wrong_address_is_one_clear_line_and_status_2(address):
    done = run("scaler_ui", address)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_an_address_where_nothing_is_says_so_on_the_page(tmp_path):
    with Page(f"ipc://{tmp_path}/none") as page:
        assert page.get("").status == 200
        page.await_text("health", "is that the scheduler's monitor address?", timeout_s=12)


def test_a_scheduler_of_another_version_says_so_on_the_page(tmp_path):
    import zmq

    from scaler.monitor.codec import _schema

    message = _schema.Report.new_message()
    message.magic, message.version = 0x5343414D, 9
    message.init("summary")
    data = message.to_bytes()
    context = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.LINGER, 0)
    publisher.bind(f"ipc://{tmp_path}/none")
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(0.05):
            publisher.send_multipart([b"summary", data])

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        with Page(f"ipc://{tmp_path}/none") as page:
            page.await_text("health", "use the same version of scaler", timeout_s=12)
    finally:
        ended.set()
        thread.join()
        publisher.close(0)
        context.term()


def test_what_was_shown_is_recorded_and_can_be_opened_without_a_scheduler(tmp_path):
    path = tmp_path / "seen"
    with publishing(workers=3) as address, Page(address, "--record", str(path)) as page:
        page.await_text("metrics", "scaler_tasks_submitted_total", timeout_s=10)
    with Page(str(path)) as again:
        assert "scaler_tasks_submitted_total" in again.get("metrics").text
        assert len(list(csv.reader(io.StringIO(again.get("download/workers.csv").text)))) == 4
        assert again.get("health").text == "ok\n"
    assert run("scaler_ui", "--record", str(path), address).returncode == 1  # it is there already
    assert run("scaler_ui", "--record", "x", str(path)).returncode == 2


def test_a_recording_that_is_cut_is_shown_up_to_there(tmp_path):
    from tests.monitor.pretended import PretendedCluster

    path = tmp_path / "cut"
    cluster = PretendedCluster()
    with Recorder(path) as recorder:
        for _ in range(3):
            cluster.go_on()
            for report in cluster.reports():
                recorder.add(encode(report))
    path.write_bytes(path.read_bytes()[:-100])
    with Page(str(path)) as page:
        assert "is cut or damaged" in page.get("health").text
        assert len(list(csv.reader(io.StringIO(page.get("download/workers.csv").text)))) == 9


def test_signals_end_it_with_browsers_open(page):
    with publishing() as address, Page(address) as other:

        async def look() -> None:
            async with feed(other) as socket:
                await socket.send_json({"view": "workers"})
                await socket.receive_bytes(timeout=5)
                assert await asyncio.to_thread(other.command.stop, signal.SIGTERM) == 0
                while (message := await socket.receive(timeout=5)).type is aiohttp.WSMsgType.BINARY:
                    pass
                assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

        asyncio.run(look())


def test_without_its_extra_it_says_what_to_install(tmp_path: Path):
    (tmp_path / "aiohttp.py").write_text("raise ImportError('No module named aiohttp', name='aiohttp')\n")
    done = run_with_path(tmp_path, f"ipc://{tmp_path}/none")
    assert done.returncode == 1
    assert "pip install scaler[ui]" in done.stderr
    assert done.stderr.count("\n") == 1


def run_with_path(folder: Path, *arguments: str) -> Any:
    import os
    import subprocess
    import sys

    program = "import sys; from scaler.entry_points.ui import main; sys.argv[0] = 'scaler_ui'\n"
    program += f"sys.path.insert(0, {str(folder)!r}); sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=30, env={**os.environ}
    )
