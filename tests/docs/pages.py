"""The pages of the documentation, and the blocks of code in them.

A block of Python says behind its fence how it is run: `python` alone with everything before it on its page, as one
program; `python needs NAME` only where another engine is installed, with the other such blocks of the page;
`python skip: REASON` not at all. What a page needs that its readers need not see stands in an HTML comment,
`<!-- invisible-code-block: python`.

Not here: running them (test_code).
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sybil import Document, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
    ROOT / "deploy/README.md",
    ROOT / "perf/README.md",
    ROOT / "protocol/README.md",
]
_PYTHON = re.compile(r"python(?P<how>(?: [^\n]*)?)$\n", re.MULTILINE)
_OTHER = re.compile(r"(?P<language>[a-z]*)$\n", re.MULTILINE)


class Block(NamedTuple):
    """A block of code of a page."""

    region: Region
    source: str
    needs: str = ""
    skipped: str = ""


class Blocks:
    """A parser of Sybil's for the blocks that are to be run together."""

    def __init__(self, needs: str) -> None:
        self._needs = needs
        self._evaluator = PythonEvaluator()

    def __call__(self, document: Document) -> list[Region]:
        found = [block for block in _find(document) if block.needs == self._needs and not block.skipped]
        for block in found:
            block.region.parsed, block.region.evaluator = block.region.lexemes["source"], self._evaluator
        return [block.region for block in found]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def read(page: Path) -> str:
    return page.read_text()


def python_blocks(page: Path) -> list[Block]:
    """All of them, in their order."""
    return _find(Document(read(page), str(page)))


def other_blocks(page: Path, *languages: str) -> list[str]:
    """The text of blocks in these languages; "" is a block without any."""
    lexer = RawFencedCodeBlockLexer(_OTHER)
    regions = lexer(Document(read(page), str(page)))
    return [region.lexemes["source"] for region in regions if region.lexemes["language"] in languages]


def _find(document: Document) -> list[Block]:
    blocks = []
    for region in RawFencedCodeBlockLexer(_PYTHON)(document):
        how = region.lexemes["how"].strip()
        kind, _, rest = how.partition(" ")
        if kind not in ("", "needs", "skip:"):
            raise ValueError(f"{document.path}: a block of Python says {how!r}, which means nothing")
        source = region.lexemes["source"]
        blocks.append(Block(region, source, rest if kind == "needs" else "", rest if kind == "skip:" else ""))
    for region in DirectiveInHTMLCommentLexer("invisible-code-block", "python( needs [a-z]+)?")(document):
        needs = region.lexemes["arguments"].partition(" needs ")[2]
        blocks.append(Block(region, region.lexemes["source"], needs))
    return sorted(blocks, key=lambda block: block.region.start)
