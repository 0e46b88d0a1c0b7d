"""Every block of code in the documentation does what it says.

Python is run, all blocks of a page in their order as one program, with `client`, a client of one cluster that all pages
share. What a line prints stands behind it (`print(x)  # 4`), and is compared. The other engines' blocks are run with
the Python of .venvs/peers, where `make bench-peers` has installed them, or with this one. Lines that start a program of
ours are read by that program's own reader of command lines, tables of options by its reader of files.
"""

import contextlib
import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sybil import Document

from scaler import Client, SchedulerClusterCombo
from scaler.config.command_line import read_command_line
from scaler.config.table import COMMANDS
from scaler.config.toml_file import read_section
from scaler.keys.connection_file import Connection
from tests.docs.pages import PAGES, ROOT, Blocks, name_of, other_blocks, python_blocks, read

_PRINTED = re.compile(r"^[^#\n]*\bprint\(.*\)  +# (.*)$", re.MULTILINE)
_LOGGED = re.compile(r"\[[A-Z]+\]\d{4}-")  # as scaler 1.9.9 logs
WITH_CODE = [page for page in PAGES if page.name != "README.md" or page.parent != ROOT]  # README: test_readme
OURS = [page for page in WITH_CODE if any(not block.needs and not block.skipped for block in python_blocks(page))]
OTHERS = sorted({(page, block.needs) for page in PAGES for block in python_blocks(page) if block.needs})
MODULES = {
    "joblib": "joblib",
    "dask": "distributed",
    "ray": "ray",
    "scaler1": "scaler_1_9_9",
    "graphblas": "graphblas",
}  # what they are imported as


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with SchedulerClusterCombo(2, protected=False) as combo:
        yield combo.get_address()


def test_there_is_much_to_run():
    assert sum(len(python_blocks(page)) for page in OURS) > 50


@pytest.mark.parametrize("page", OURS, ids=name_of)
def test_its_python_runs_and_prints_what_it_says(page, address, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("__main__")  # as a program that one has typed in
    monkeypatch.setitem(sys.modules, "__main__", module)
    document = Document.parse(str(page), Blocks(""))
    document.namespace = module.__dict__
    with Client(address, timeout_seconds=20) as client:
        module.__dict__.update(client=client, address=address)
        run(document)


def run(document: Document) -> None:
    for example in document.examples():
        expected = _PRINTED.findall(example.parsed)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            example.evaluate()
        if expected:
            assert printed.getvalue().splitlines() == expected, f"{example.path}:{example.line}"


@pytest.mark.parametrize(("page", "engine"), OTHERS, ids=lambda of: of if isinstance(of, str) else name_of(of))
def test_blocks_of_other_engines_run_where_these_are_installed(page, engine, tmp_path):
    python = ROOT / ".venvs/peers" / engine / "bin/python"
    if not python.exists():
        if importlib.util.find_spec(MODULES[engine]) is None:
            pytest.skip(f"{engine} is not installed: its code on {name_of(page)} was not run")
        python = Path(sys.executable)
    code = "\n".join(block.source for block in python_blocks(page) if block.needs == engine)
    program = tmp_path / "program.py"
    program.write_text(code)
    ran = subprocess.run([python, program], capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stdout.splitlines() if line and not _LOGGED.match(line)] == _PRINTED.findall(code)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Where it stands, and its words, of each line that starts a program of ours."""
    for page in PAGES:
        for block in other_blocks(page, "", "sh", "text", "console", "diff"):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.match(r"(?:\$ |[-+] )?((?:[A-Z_]+=\S+ )*(?:nohup )?)scaler_([a-z]+)(\s.*|$)", line)
                if found and found[2] in COMMANDS:
                    words = re.split(r"\s{2,}(?!\s|tcp:|ipc:|-)|\s+#|\s+&$|\s+[|>]|$", found[3], maxsplit=1)[0]
                    yield name_of(page), [found[2], *shlex.split(words)]


def test_there_are_command_lines():
    assert len(list(command_lines())) > 12


@pytest.mark.parametrize(("page", "words"), list(command_lines()))
def test_a_command_line_is_one_that_the_program_takes(page, words, monkeypatch):
    here = Connection("tcp://127.0.0.1:1", "tcp://127.0.0.1:3")  # for one without an address
    monkeypatch.setattr("scaler.keys.find.find_connection", lambda address=None: here)
    command, *rest = words
    if "-h" in rest:
        return
    if "--config" in rest:  # the file is not there, and has the address
        at = rest.index("--config")
        rest[at : at + 2] = ["tcp://127.0.0.1:2345"]
    read_command_line(command, [word.replace("tcp://...", "tcp://127.0.0.1:1") for word in rest])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_of_options_and_other_data_can_be_read(page, tmp_path):
    for block in other_blocks(page, "toml"):
        table = tomllib.loads(block)
        (tmp_path / "file.toml").write_text(block)
        for section in set(table) & set(COMMANDS):
            read_section(str(tmp_path / "file.toml"), section)
    for block in other_blocks(page, "yaml"):
        assert list(yaml.safe_load_all(block))
    for block in other_blocks(page, "json"):
        json.loads(block)


def test_what_is_skipped_says_why():
    skipped = [block for page in PAGES for block in python_blocks(page) if block.skipped]
    assert all(len(block.skipped.split()) >= 3 for block in skipped)


def test_no_block_is_left_without_a_language_by_mistake():
    for page in PAGES:
        assert "```py\n" not in read(page)
        assert "```Python\n" not in read(page)
