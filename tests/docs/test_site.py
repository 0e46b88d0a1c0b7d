"""`make docs`: the site is built without a warning, has every page and every public name, and fetches nothing."""

import ast
import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import scaler
from scaler import exceptions
from scaler.client.pool import ClientPool
from tests.docs.pages import ROOT

# What a browser fetches by itself when it shows a page.
FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
IS_LINK_ONLY = {"canonical", "author", "next", "prev", "search", "index"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = ["-q", "-W", "--keep-going", "-c", "docs", "-b", "html", "-d", str(folder / "doctrees"), "."]
    command = [sys.executable, "-m", "sphinx", *words, str(folder / "html")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert (ran.returncode, ran.stderr) == (0, "")
    return folder / "html"


class Page(HTMLParser):
    """Addresses that a browser fetches, and the text between tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        wanted = FETCHED.get(tag)
        if wanted and found.get(wanted) and found.get("rel") not in IS_LINK_ONLY:
            self.fetched.append(str(found[wanted]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.timeout(200)
def test_nothing_is_fetched_from_elsewhere_when_it_is_read(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for path in pages:
        for address in Page(path).fetched:
            assert not re.match(r"(https?:)?//", address), f"{path.name} fetches {address}"
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = path.read_text()
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text), path.name
    for path in site.rglob("*.js"):
        assert not re.search(r"import\(?\s*[\"']https?://|\.src\s*=\s*[\"']https?://", path.read_text()), path.name


def test_every_page_of_the_folder_is_part_of_it(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists(), page.name


def test_no_page_shows_an_error_of_its_builder(site):
    pages = [path for path in site.rglob("*.html") if path.name != "search.html"]  # which wants JavaScript, and says so
    for path in pages:
        assert not re.search(
            r"class=\"[^\"]*(system-message|\berror\b)|Adding a table of contents", path.read_text()
        ), path


def test_the_reference_has_every_public_name(site):
    text = " ".join("".join(Page(site / "docs/api.html").words).split())
    names = {name for name in scaler.__all__ if name != "__version__"}
    names |= {name for name, value in vars(exceptions).items() if inspect.isclass(value) and not name.startswith("_")}
    assert not [name for name in names if name not in text]
    methods = {name for name in vars(scaler.Client) if not name.startswith("_")}
    assert not [name for name in methods - {"asynchronous", "is_usable"} if f"{name}" not in text]


def public_things() -> list[tuple[str, object]]:
    """All that the reference shows, by its name."""
    found: list[tuple[str, object]] = []
    for name in scaler.__all__:
        thing = getattr(scaler, name)
        if name == "__version__":
            continue
        found.append((name, thing))
        if inspect.isclass(thing):
            for base in thing.__mro__:
                if base.__module__.startswith("scaler."):
                    methods = ((key, value) for key, value in vars(base).items() if not key.startswith("_"))
                    found += [(f"{name}.{key}", value) for key, value in methods if inspect.isfunction(value)]
    found += [(f"Pool.{key}", value) for key, value in vars(ClientPool).items() if inspect.isfunction(value)]
    return [(name, thing) for name, thing in found if not name.rpartition(".")[2].startswith("_")]


@pytest.mark.parametrize(("name", "thing"), public_things(), ids=[name for name, _ in public_things()])
def test_what_is_public_says_what_it_is_for(name, thing):
    assert (inspect.getdoc(thing) or "").strip(), f"{name} has no docstring"


def test_every_exception_says_when_it_is_raised():
    tree = ast.parse((ROOT / "scaler/exceptions.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            assert ast.get_docstring(node), node.name
