"""How an object of ours shows itself in a notebook: a title, and facts under each other.

Rule 1: what is shown may have been named by anybody, and is text, never markup.
"""

import html
from collections.abc import Mapping


def as_html(title: str, facts: Mapping[str, object]) -> str:
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<div><b>{html.escape(title)}</b><table>{rows}</table></div>"
