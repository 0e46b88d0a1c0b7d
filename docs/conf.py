"""The documentation site: `make docs` builds it from the pages of this repository into build/docs.

Why Sphinx, with MyST for Markdown and furo for the looks: pages read the same on the site and in the repository, since
they are plain Markdown with relative links; a link or a name that leads nowhere is an error (`-W`); and what is built
fetches nothing when it is read, neither fonts nor scripts.

Rule 1: a page stands once. The root of the site is the repository, so that pages which belong elsewhere (protocol/,
        perf/, examples/) are part of it where they are.
Rule 2: docstrings are read as Markdown, since that is how they are written.
Not here: tables and pages that are made from code (`make options`, `make top-page`, `make figures`).
"""

import re
from typing import Any

import scaler

project = "Scaler"
author = "the Scaler developers"
version = release = scaler.__version__
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "examples/**README.md",
    "deploy/README.md",
    "perf/README.md",
    "protocol/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = ["build", ".venv", ".venvs", "web", "native", "scaler", "tests", "dist", "**/.*"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
nitpicky = False

html_theme = "furo"
html_title = f"Scaler {release}"
html_static_path = ["static"]
html_css_files = ["page.css"]
html_extra_path = ["root"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
default_role = "code"

# What pages link to that is no page: files of the repository, which a reader of the site does not have.
_TO_FILE = re.compile(
    r"\[([^\]\n]+)\]\((?!https?:|#|mailto:)((?:[^)#\s]+\.(?:py|pyx|pxi|h|json|ipynb|toml|capnp|sh|yaml|service)|Containerfile))\)"
)
_LICENSE = re.compile(r"\[([^\]\n]+)\]\((?:\.\./)*LICENSE\)")
_README = re.compile(r"\[([^\]\n]+)\]\((?:\.\./)+README\.md(#[^)]*)?\)|\[([^\]\n]+)\]\(README\.md(#[^)]*)?\)")


def _read(app: Any, page: str, source: list[str]) -> None:
    """Have the page link to pages only, and show blocks of Python as such whatever tests are told about them."""
    text = _TO_FILE.sub(r"\1", source[0])
    text = _LICENSE.sub(r"\1", text)
    if not page.startswith(("examples/", "perf/", "protocol/")):
        text = _README.sub(lambda found: found[1] or found[3], text)
    source[0] = re.sub(r"^```python [^\n]*$", "```python", text, flags=re.MULTILINE)


def _as_restructured_text(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings: `code` is code, and stars and bars mean nothing."""
    parts = re.split(r"(`[^`]+`)", "\n" + "\n".join(lines))
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = f"`{part}`"
        else:
            plain = re.sub(r"(\w)_(?=\W|$)", r"\1\\_", part)
            parts[number] = re.sub(r"\*(?! )|(?<!\n)\*|\|", r"\\\g<0>", plain)  # but not the star of a list
    lines[:] = "".join(parts).split("\n")[1:]


def setup(app: Any) -> None:
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _as_restructured_text)
